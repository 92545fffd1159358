"""The import paths that the documents show keep working."""

import importlib
import re

import pytest

import serving.client
import serving.compat.engine
import serving.compat.sensor_manager
import serving.engine
import serving.http.client
import serving.sensor_manager
from tests.support.installation import ROOT

SHOWN = sorted(
    {
        (module, name.strip())
        for page in (ROOT / "docs").glob("*.md")
        for module, names in re.findall(
            r"^from (serving\S+) import (.+)$", page.read_text("utf-8"), re.MULTILINE
        )
        for name in names.split(",")
    }
)
PUBLIC = {
    ("serving.client", "FleetClient"),
    ("serving.client", "Prediction"),
    ("serving.client", "Refused"),
    ("serving.engine", "MLEngine"),
    ("serving.engine", "create_ml_engine"),
    ("serving.sensor_manager", "NamedSensor"),
    ("serving.sensor_manager", "SensorManager"),
    ("serving.sensor_manager", "create_sensor_manager"),
}


@pytest.mark.parametrize(("module", "name"), sorted(PUBLIC | set(SHOWN)))
def test_a_documented_name_can_be_imported(module, name):
    assert hasattr(importlib.import_module(module), name)


def test_the_documents_show_each_public_module():
    assert {module for module, _ in PUBLIC} <= {module for module, _ in SHOWN}


def test_the_public_modules_export_the_implementation():
    assert serving.engine.MLEngine is serving.compat.engine.MLEngine
    assert serving.client.FleetClient is serving.http.client.FleetClient
    assert serving.sensor_manager.SensorManager is serving.compat.sensor_manager.SensorManager
