"""A registry, and versions with one small file."""

import pandas as pd
import pytest
from mlflow.models import infer_signature

from training.artifacts.model_files import DATA, MODEL_FOLDER, digest_folder, write_json
from training.kinds import Kind
from training.registry.model_registry import Registry
from training.registry.packaging import MLmodelTemplate
from training.registry.publishing import Publisher


@pytest.fixture
def registry(mlflow_client):
    return Registry(mlflow_client)


@pytest.fixture
def add_version(registry, tracker, tmp_path):
    """Register a version with one small file."""

    def add(sensor_id="PT-1", kind=Kind.DETECTOR, content=1):
        package = tmp_path / f"{sensor_id}-{content}"
        files = package / DATA / MODEL_FOLDER
        files.mkdir(parents=True)
        write_json({"content": content}, files / "model.json")
        example = pd.DataFrame({"value": [1.0]})
        run = tracker.open(kind.experiment, sensor_id, {})
        template = MLmodelTemplate.create(
            requirements=["mlflow"], signature=infer_signature(example, example), example=example
        )
        model = Publisher(tracker.client).upload_model(
            run, package, "probe", template=template, example=example, params={}
        )
        tracker.finish(run.run_id)
        return registry.register(
            sensor_id,
            kind,
            source=model.source,
            run_id=run.run_id,
            model_id=model.model_id,
            tags={"sensor_id": sensor_id, "kind": kind.value, "model_sha256": digest_folder(files)},
        )

    return add
