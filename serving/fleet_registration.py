"""Register `safeplan-fleet`, the servable model that contains the serving code.

Each state of the code is one version. MLflow logs a models-from-code file with exactly the modules that it
imports. The sensors' models are not included; they are loaded from the registry when it runs.
"""

import contextlib
import hashlib
import tempfile
import warnings
from collections.abc import Iterator
from importlib.metadata import version as installed
from pathlib import Path

import mlflow
from mlflow.models import Model
from mlflow.models.model import ModelInfo

from serving import contract
from training.registry.model_registry import CHAMPION, Version, registry_errors
from training.settings import environment_variables
from training.workspace import Workspace

FLEET_MODEL_NAME = "safeplan-fleet"
ROOT = Path(__file__).parent.parent
CODE_PACKAGES = ("training", "serving")
REQUIRED_PACKAGES = (
    *("alembic", "mlflow", "numpy", "pandas", "psycopg", "psycopg-binary", "pyarrow", "pydantic", "pyyaml"),
    *("rich", "scikit-learn", "scipy", "skops", "sqlalchemy", "tzdata"),
)


def register_fleet_model(workspace: Workspace) -> Version | None:
    """Register the running code as the fleet's champion; None where the champion has the same code.

    Raises:
        RegistryError: the registry cannot be reached, or refused.
    """
    digest = code_digest()
    current = workspace.registry.find_alias(FLEET_MODEL_NAME, CHAMPION)
    if current is not None and current.tags.get("code_digest") == digest:
        return None
    tracker, client = workspace.tracker, workspace.mlflow
    run_id = tracker.open(FLEET_MODEL_NAME, FLEET_MODEL_NAME, {"code_digest": digest}).run_id
    with registry_errors(f"cannot register {FLEET_MODEL_NAME}"):
        if not client.search_registered_models(f"name = '{FLEET_MODEL_NAME}'"):
            client.create_registered_model(
                FLEET_MODEL_NAME,
                description=(
                    "All sensors behind one model: "
                    f"mlflow models serve -m models:/{FLEET_MODEL_NAME}@{CHAMPION}"
                ),
            )
        logged = _log_model(workspace, run_id)
        created = client.create_model_version(
            FLEET_MODEL_NAME,
            logged.model_uri,
            run_id=run_id,
            model_id=logged.model_id,
            tags={"code_digest": digest},
        )
        version = workspace.registry.version(FLEET_MODEL_NAME, int(created.version))
    workspace.registry.promote(version)
    tracker.finish(run_id)
    return version


def code_digest() -> str:
    """A hash of the serving code and of the versions of the libraries it needs."""
    total = hashlib.sha256()
    for path in sorted(path for floor in CODE_PACKAGES for path in (ROOT / floor).rglob("*.py")):
        total.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    total.update("".join(requirements()).encode())
    return total.hexdigest()[:16]


def requirements() -> list[str]:
    """The packages that the fleet's model needs, pinned to the installed versions."""
    return [f"{package}=={installed(package)}" for package in REQUIRED_PACKAGES]


def _log_model(workspace: Workspace, run_id: str) -> ModelInfo:
    experiment = workspace.mlflow.get_run(run_id).info.experiment_id
    model = workspace.mlflow.create_logged_model(experiment, name=FLEET_MODEL_NAME, source_run_id=run_id)
    with _isolated_code_folder(workspace), warnings.catch_warnings():
        # The signature is ours; MLflow would run the whole service on an example to infer one.
        warnings.filterwarnings("ignore", message=".*input example was not provided")
        logged: ModelInfo = Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            run_id=run_id,
            model_id=model.model_id,
            python_model=str(Path("serving") / "fleet_model.py"),
            infer_code_paths=True,
            pip_requirements=requirements(),
            signature=contract.SIGNATURE,
        )
    return logged


@contextlib.contextmanager
def _isolated_code_folder(workspace: Workspace) -> Iterator[None]:
    """A working folder with our packages only: MLflow copies from it what the model imports.

    From an installed package's folder it would copy every library beside it. MLflow loads the model once in
    another process to record its imports; the environment variables lead that process to this workspace.
    """
    with tempfile.TemporaryDirectory(prefix="safeplan-code-") as folder:
        for floor in CODE_PACKAGES:
            (Path(folder) / floor).symlink_to(ROOT / floor, target_is_directory=True)
        variables = {"SAFEPLAN_HOME": str(workspace.home), "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
        with environment_variables(variables), contextlib.chdir(folder):
            yield
