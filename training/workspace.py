"""One installation: its home folder, database, MLflow and sensors.

Opens each part on first use, as settings and environment describe it.
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

# MLflow takes seconds to import, and commands that only read or write readings do not need it.
if TYPE_CHECKING:
    from mlflow import MlflowClient

    from training.registry.model_registry import Registry
    from training.registry.tracking import Tracker


@dataclass(frozen=True)
class Workspace:
    """The parts of the installation of one home folder."""

    home: Path

    @classmethod
    def here(cls) -> "Workspace":
        """The installation of `SAFEPLAN_HOME`, else of the working folder."""
        return cls(home())

    @cached_property
    def engine(self) -> Engine:
        """The database, with its schema upgraded."""
        return open_database()

    @cached_property
    def readings(self) -> ReadingStore:
        """The store of readings."""
        return ReadingStore(self.engine)

    @cached_property
    def labels(self) -> LabelStore:
        """The store of labels."""
        return LabelStore(self.engine)

    @cached_property
    def fleet(self) -> Fleet:
        """All sensors of `conf/sensors.yaml` and of the database."""
        return load_fleet(self.engine)

    @cached_property
    def mlflow(self) -> "MlflowClient":
        """The client of the MLflow tracking server and registry."""
        from training.registry.tracking import connect  # noqa: PLC0415

        return connect(folder=self.home)

    @cached_property
    def registry(self) -> "Registry":
        """The model registry."""
        from training.registry.model_registry import Registry  # noqa: PLC0415

        return Registry(self.mlflow)

    @cached_property
    def tracker(self) -> "Tracker":
        """The tracker of runs."""
        from training.registry.tracking import Tracker  # noqa: PLC0415

        return Tracker(self.mlflow, self.home / "mlartifacts")

    @property
    def model_cache(self) -> Path:
        """The folder with copies of registered files; it can be deleted at any time."""
        return self.home / ".safeplan" / "models"
