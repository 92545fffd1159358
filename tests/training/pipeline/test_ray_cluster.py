"""Training on a Ray cluster gives the same results as locally, and a dead node costs no sensor."""

import sys
from dataclasses import replace

import pytest

from tests.support.requirements import require_module
from tests.support.workspaces import ingest_readings, make_task
from training.artifacts.model_files import digest_folder
from training.data.sensor_store import load_fleet
from training.errors import ConfigurationError, NotTrainable
from training.kinds import Engine, Kind
from training.pipeline.fit import Candidate, Incumbent, Unchanged, run_training_task
from training.pipeline.fleet import train_fleet
from training.pipeline.ray_cluster import (
    ClusterResult,
    _fit_on_node,
    fit_on_cluster,
    pack_task,
    unpack_result,
)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_result_from_a_node_equals_a_local_one(kind, tmp_path, training_stub):
    here = run_training_task(make_task(kind, tmp_path))

    there = unpack_result(_fit_on_node(pack_task(make_task(kind, tmp_path))), tmp_path)

    assert isinstance(there, Candidate)
    assert there.fingerprint == here.fingerprint
    assert there.result.metrics == here.result.metrics
    assert digest_folder(there.files) == digest_folder(here.files)
    assert there.package.parent == tmp_path


def test_the_files_of_the_champion_are_sent_with_the_task(tmp_path, fitted_models, training_stub):
    """Nodes share no disk with this process: each writes the files to its own folder."""
    files, _ = fitted_models[Kind.FORECASTER]
    incumbent = Incumbent(files, make_task(Kind.FORECASTER, tmp_path).readings["timestamp"].iloc[-1])

    _fit_on_node(pack_task(make_task(Kind.FORECASTER, tmp_path, incumbent=incumbent)))

    (task,) = training_stub.tasks
    assert task.incumbent.files != files
    assert task.folder != tmp_path
    assert not task.incumbent.files.exists()  # deleted with the node's folder


def test_an_error_of_a_task_is_its_result(tmp_path):
    task = make_task(Kind.DETECTOR, tmp_path)
    few = replace(task, readings=task.readings.head(5))

    result = unpack_result(_fit_on_node(pack_task(few)), tmp_path)

    assert isinstance(result, NotTrainable)


def test_an_unchanged_model_is_a_result_too(tmp_path):
    assert unpack_result(ClusterResult(Unchanged("abc"), {}), tmp_path) == Unchanged("abc")


def test_without_ray_the_error_names_the_package_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'safeplan\[ray\]'"):
        next(fit_on_cluster([]))


@pytest.fixture
def two_nodes(monkeypatch):
    """A cluster of two small nodes with one core each on this machine, and its second node."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray = require_module("ray")
    cluster_utils = require_module("ray.cluster_utils")
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = cluster_utils.Cluster(
        initialize_head=True, head_node_args={**small, "include_dashboard": False}
    )
    node = cluster.add_node(**small)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster, node
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.slow
@pytest.mark.fault("a cluster node killed during a training", "its sensors are trained on another node")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_after_a_node_is_killed_every_sensor_is_registered_once(workspace, plan, two_nodes):
    cluster, doomed = two_nodes
    for number in range(5):
        ingest_readings(workspace, f"PT-{number}", 80, seed=number)
    killed = []

    def kill_once(_):
        if not killed:
            cluster.remove_node(doomed, allow_graceful=False)
            killed.append(doomed)

    outcomes = train_fleet(
        workspace,
        load_fleet(workspace.engine).match(),
        [Kind.FORECASTER],
        plan,
        engine=Engine.RAY,
        watch=kill_once,
    )

    assert killed
    assert sorted((o.sensor_id, o.status, o.version) for o in outcomes) == [
        (f"PT-{number}", "promoted", 1) for number in range(5)
    ]
    assert {key[0] for key in workspace.registry.listings()} == {f"PT-{number}" for number in range(5)}
