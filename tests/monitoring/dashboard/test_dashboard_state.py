"""State shared by all readers: models are shown before all of their versions are read."""

import pytest

from monitoring.dashboard import dashboard_state
from monitoring.dashboard.dashboard_state import DashboardState
from training.errors import RegistryError
from training.kinds import Kind
from training.outcomes import OutcomeStatus
from training.registry.version_cache import VersionCache


def test_aliases_show_which_models_serve_before_their_versions_are_read(dashboard_workspace, monkeypatch):
    """For 10,000 models, reading the versions takes as long as reading the aliases."""

    class UnreadVersions(VersionCache):
        def read(self, *_):
            raise RegistryError("not read yet")

    monkeypatch.setattr(dashboard_state, "VersionCache", UnreadVersions)
    state = DashboardState(dashboard_workspace)
    with pytest.raises(RegistryError):
        state.models.get()
    outcomes = state.model_outcomes()

    assert outcomes["PT-1", Kind.DETECTOR].status is OutcomeStatus.SERVING
    assert outcomes["PT-1", Kind.DETECTOR].version == 1
    assert outcomes["NEW-1", Kind.DETECTOR].status is OutcomeStatus.NO_MODEL
