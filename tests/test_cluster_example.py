"""The example of a cluster is one that Compose, Ray and our own commands understand."""

import re
from pathlib import Path

import pytest
import yaml
from ray.scripts.scripts import start
from typer.testing import CliRunner

from safeplan import app

EXAMPLE = Path(__file__).parent.parent / "conf" / "operate" / "cluster"


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load((EXAMPLE / "compose.yaml").read_text())["services"]


def test_what_the_services_wait_for_exists(services):
    for service in services.values():
        assert set(service.get("depends_on", ())) <= services.keys()


def test_every_part_knows_the_shared_parts(services):
    for name in ("head", "node", "train", "mlflow"):
        environment = services[name]["environment"]
        assert re.search("@database/", environment["SAFEPLAN_DATABASE_URL"])
        assert environment["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
        assert environment["RAY_ADDRESS"] == "head:6379"


def test_the_training_is_a_command_of_ours(services):
    program, *arguments = services["train"]["command"].split()

    answer = CliRunner().invoke(app, [*arguments, "--help"])

    assert program == "safeplan"
    assert answer.exit_code == 0, answer.output


@pytest.mark.parametrize("name", ["head", "node"])
def test_the_nodes_are_started_by_options_that_ray_has(services, name):
    dashboard_workspace = {option for parameter in start.params for option in parameter.opts}

    program, verb, *options = services[name]["command"].split()

    assert (program, verb) == ("ray", "start")
    assert {option.partition("=")[0] for option in options} <= dashboard_workspace


def test_the_image_is_built_from_files_that_are_there(services):
    root = (EXAMPLE / services["node"]["build"]["context"]).resolve()

    assert (root / services["node"]["build"]["dockerfile"]).is_file()
    for copied in re.findall(r"^COPY (.+) \./$", (EXAMPLE / "Dockerfile").read_text(), re.MULTILINE):
        assert all((root / name).exists() for name in copied.split())
