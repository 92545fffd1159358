"""One installation: its database, its MLflow, its sensors, its home folder.

Knows how the parts are found from settings and the environment, and opens each when first asked for. Decides
nothing.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from training.data.readings import ReadingStore
from training.data.sensor_store import load_fleet
from training.data.sensors import Fleet
from training.settings import home
from training.storage.database import open_database
from training.storage.labels import LabelStore

# MLflow takes seconds to import; commands that only read or write readings do without.
if TYPE_CHECKING:
    from mlflow import MlflowClient

    from training.registry.model_registry import Registry
    from training.registry.tracking import Tracker


@dataclass(frozen=True)
class Workspace:
    """Everything commands work on, for one home folder."""

    home: Path

    @classmethod
    def here(cls) -> "Workspace":
        """The one that `SAFEPLAN_HOME` or the working folder names."""
        return cls(home())

    @cached_property
    def engine(self) -> Engine:
        """The database, its schema up to date."""
        return open_database()

    @cached_property
    def readings(self) -> ReadingStore:
        """The readings store."""
        return ReadingStore(self.engine)

    @cached_property
    def labels(self) -> LabelStore:
        """What people said about readings."""
        return LabelStore(self.engine)

    @cached_property
    def fleet(self) -> Fleet:
        """All sensors known to the file and the table."""
        return load_fleet(self.engine)

    @cached_property
    def mlflow(self) -> "MlflowClient":
        """The client of the tracking server and registry."""
        from training.registry.tracking import connect  # noqa: PLC0415

        return connect(folder=self.home)

    @cached_property
    def registry(self) -> "Registry":
        """The models and their aliases."""
        from training.registry.model_registry import Registry  # noqa: PLC0415

        return Registry(self.mlflow)

    @cached_property
    def tracker(self) -> "Tracker":
        """The writer of runs."""
        from training.registry.tracking import Tracker  # noqa: PLC0415

        return Tracker(self.mlflow, self.home / "mlartifacts")

    @property
    def model_cache(self) -> Path:
        """Copies of registered files; may be deleted at any time."""
        return self.home / ".safeplan" / "models"
