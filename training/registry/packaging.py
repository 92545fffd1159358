"""Write the files that MLflow needs around a model's own files: `MLmodel`, requirements, input example.

MLflow writes the same files for every model of a kind except for ids, times and the example, so a process
asks MLflow once and fills in the rest as a template. Uploading is in `training.registry.publishing`.
"""

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow.models import Model, ModelSignature

from training.artifacts.model_files import MODEL_FOLDER

MLMODEL = "MLmodel"
EXAMPLE_FILES = ("input_example.json", "serving_input_example.json")
LOCATION_MARK, RUN_MARK, MODEL_MARK, CREATED_MARK = "@location@", "@run@", "@model@", "@created@"
# MLflow takes this for a path to MLflow. So it adds no requirement of its own and does not search the
# installed packages for the versions of the requirements, which takes 0.6 s.
REQUIREMENTS_MARK = "@requirements@/mlflow"


@dataclass(frozen=True)
class MLmodelTemplate:
    """The files around a model by name, with marks in place of each model's own values."""

    texts: Mapping[str, str]

    @classmethod
    def create(
        cls, *, requirements: Sequence[str], signature: ModelSignature, example: pd.DataFrame
    ) -> "MLmodelTemplate":
        """The files that MLflow writes for a model of this signature.

        Requirements are an argument because MLflow takes 9 s to infer them.
        """
        with tempfile.TemporaryDirectory() as folder:
            files, model_folder = Path(folder) / MODEL_FOLDER, Path(folder) / "made"
            files.mkdir()
            mlflow.pyfunc.save_model(
                str(model_folder),
                mlflow_model=Model(
                    artifact_path=LOCATION_MARK,
                    run_id=RUN_MARK,
                    model_uuid=MODEL_MARK,
                    model_id=MODEL_MARK,
                    utc_time_created=CREATED_MARK,
                ),
                loader_module="training.standalone",
                data_path=str(files),
                pip_requirements=[REQUIREMENTS_MARK],
                signature=signature,
                input_example=example,
            )
            template_files = [
                path for path in model_folder.iterdir() if path.is_file() and path.name not in EXAMPLE_FILES
            ]
            return cls(
                {path.name: _insert_requirements(requirements, path.read_text()) for path in template_files}
            )

    def render(
        self,
        package: Path,
        *,
        location: str,
        run_id: str,
        model_id: str,
        created: datetime,
        example: pd.DataFrame,
    ) -> None:
        """Write the files beside `package/data/model`, which must exist."""
        for name, text in _example_texts(example).items():
            (package / name).write_text(text)
        # MLflow's size does not include the files it writes afterwards.
        size = sum(path.stat().st_size for path in package.rglob("*") if path.is_file())
        values_by_mark = {
            LOCATION_MARK: location,
            RUN_MARK: run_id,
            MODEL_MARK: model_id,
            CREATED_MARK: created.isoformat(sep=" "),
        }
        mlmodel = re.sub(
            r"^model_size_bytes: .*$", f"model_size_bytes: {size}", self.texts[MLMODEL], flags=re.M
        )
        for mark, value in values_by_mark.items():
            mlmodel = mlmodel.replace(f"'{mark}'", yaml_quoted(value))
        for name, text in {**self.texts, MLMODEL: mlmodel}.items():
            (package / name).write_text(text)


def yaml_quoted(text: str) -> str:
    """A text as a quoted YAML string.

    >>> yaml_quoted("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def _insert_requirements(requirements: Sequence[str], text: str) -> str:
    """Replace the mark in a file that MLflow wrote by the requirements: a YAML list or lines of text."""
    listed = "\n".join(f"  - {yaml_quoted(requirement)}" for requirement in requirements)
    return text.replace(f"  - '{REQUIREMENTS_MARK}'", listed).replace(
        REQUIREMENTS_MARK, "\n".join(requirements)
    )


def _example_texts(example: pd.DataFrame) -> dict[str, str]:
    table: dict[str, Any] = {"columns": list(example.columns), "data": example.to_numpy(object).tolist()}
    return dict(
        zip(EXAMPLE_FILES, (json.dumps(table), json.dumps({"dataframe_split": table}, indent=2)), strict=True)
    )
