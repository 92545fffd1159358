"""Links from a version on the page to its version and run in the MLflow UI.

Where no MLflow UI is known, the page shows which setting to set.
"""

from urllib.parse import quote

import mlflow
import streamlit as st

from monitoring.dashboard.url_state import shared_state
from monitoring.i18n.translation import Translator
from training.errors import RegistryError
from training.outcomes import Outcome


def ui_url(setting: str | None, tracking: str) -> str | None:
    """URL of the MLflow UI: as set, else that of the tracking server, without credentials.

    >>> ui_url(None, "http://me:secret@mlflow:5000/"), ui_url(None, "sqlite:///mlflow.db")
    ('http://mlflow:5000', None)
    """
    address = setting or tracking
    if not address.startswith(("http://", "https://")):
        return None
    scheme, _, rest = address.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}".rstrip("/")


def version_url(base: str, name: str, number: int) -> str:
    """The page of one registered version."""
    return f"{base}/#/models/{quote(name, safe='')}/versions/{number}"


def run_url(base: str, experiment: str, run_id: str) -> str:
    """The page of one run."""
    return f"{base}/#/experiments/{quote(experiment, safe='')}/runs/{quote(run_id, safe='')}"


def mlflow_ui_url() -> str | None:
    """The URL of the MLflow UI of this installation, or None."""
    shared = shared_state()
    setting = shared.settings.mlflow
    # `workspace.mlflow` sets the tracking URI.
    return ui_url(setting, "" if setting else str(shared.workspace.mlflow and mlflow.get_tracking_uri()))


def show_model_links(_: Translator, model: Outcome) -> None:
    """Links to the version and the training run of a model."""
    if model.model is None or model.version is None or model.kind is None:
        return
    base, experiment = _experiment_location(model.kind.experiment)
    if base is None:
        st.caption(
            _(
                "{model} version {version}. To link it, start the MLflow UI and set page.mlflow.",
                model=model.model,
                version=model.version,
            )
        )
        return
    with st.container(horizontal=True):
        name = f"{model.model} v{model.version}"
        st.link_button(
            _("Version {name} in MLflow", name=name),
            version_url(base, model.model, model.version),
            icon=":material/open_in_new:",
        )
        if run_id := model.detail.get("run_id"):
            st.link_button(
                _("Training run"), run_url(base, experiment, run_id), icon=":material/open_in_new:"
            )


def show_run_link(_: Translator, name: str, experiment: str, run_id: str) -> None:
    """A link to a run; nothing where no UI is known."""
    base, experiment_id = _experiment_location(experiment)
    if base is not None:
        st.link_button(name, run_url(base, experiment_id, run_id), icon=":material/open_in_new:")


def _experiment_location(experiment: str) -> tuple[str | None, str]:
    """URL of the UI, and the id of the experiment there."""
    try:
        base = mlflow_ui_url()
        return base, shared_state().workspace.tracker.experiment(experiment) if base else ""
    except RegistryError:
        return None, ""
