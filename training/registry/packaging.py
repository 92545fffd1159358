"""A model's folder as MLflow wants it: its files, and around them what `mlflow models serve` runs it by.

Knows that MLflow writes the same around every sensor's model of one kind, but for ids, times and an example;
so it is asked once a process, and its answer is filled in. Uploading is `publishing`'s.
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
EXAMPLES = ("input_example.json", "serving_input_example.json")
LOCATION, RUN, MODEL, CREATED = "@location@", "@run@", "@model@", "@created@"
# As MLflow reads it, the path of some MLflow: it adds none then, and does not look through all that is
# installed for what the requirements ask for, which takes 0.6 s and finds what they were pinned to.
REQUIREMENTS = "@requirements@/mlflow"


@dataclass(frozen=True)
class Shell:
    """The files around a model, by name, with marks where each model has its own."""

    texts: Mapping[str, str]

    @classmethod
    def of(cls, *, requirements: Sequence[str], signature: ModelSignature, example: pd.DataFrame) -> "Shell":
        """Ask MLflow what it writes. Requirements are given: inferring them takes 9 s."""
        with tempfile.TemporaryDirectory() as folder:
            files, made = Path(folder) / MODEL_FOLDER, Path(folder) / "made"
            files.mkdir()
            mlflow.pyfunc.save_model(
                str(made),
                mlflow_model=Model(
                    artifact_path=LOCATION,
                    run_id=RUN,
                    model_uuid=MODEL,
                    model_id=MODEL,
                    utc_time_created=CREATED,
                ),
                loader_module="training.standalone",
                data_path=str(files),
                pip_requirements=[REQUIREMENTS],
                signature=signature,
                input_example=example,
            )
            around = [path for path in made.iterdir() if path.is_file() and path.name not in EXAMPLES]
            return cls({path.name: _with(requirements, path.read_text()) for path in around})

    def close_around(
        self,
        package: Path,
        *,
        location: str,
        run_id: str,
        model_id: str,
        created: datetime,
        example: pd.DataFrame,
    ) -> None:
        """Write the files beside `package/data/model`, which is there already."""
        for name, text in _written(example).items():
            (package / name).write_text(text)
        # MLflow counts what is there before it writes the rest.
        size = sum(path.stat().st_size for path in package.rglob("*") if path.is_file())
        marks = {LOCATION: location, RUN: run_id, MODEL: model_id, CREATED: created.isoformat(sep=" ")}
        described = re.sub(
            r"^model_size_bytes: .*$", f"model_size_bytes: {size}", self.texts[MLMODEL], flags=re.M
        )
        for mark, value in marks.items():
            described = described.replace(f"'{mark}'", quoted(value))
        for name, text in {**self.texts, MLMODEL: described}.items():
            (package / name).write_text(text)


def quoted(text: str) -> str:
    """A text as YAML, whatever is in it.

    >>> quoted("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def _with(requirements: Sequence[str], text: str) -> str:
    """A text of MLflow's with these requirements, in its YAML as a list."""
    listed = "\n".join(f"  - {quoted(requirement)}" for requirement in requirements)
    return text.replace(f"  - '{REQUIREMENTS}'", listed).replace(REQUIREMENTS, "\n".join(requirements))


def _written(example: pd.DataFrame) -> dict[str, str]:
    table: dict[str, Any] = {"columns": list(example.columns), "data": example.to_numpy(object).tolist()}
    return dict(
        zip(EXAMPLES, (json.dumps(table), json.dumps({"dataframe_split": table}, indent=2)), strict=True)
    )
