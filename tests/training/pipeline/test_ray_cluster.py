"""Training on a cluster: the same results as here, and a node that dies costs no sensor."""

import sys

import pytest

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
def test_what_comes_back_is_what_would_have_been_learned_here(kind, tmp_path, training_stub):
    here = run_training_task(make_task(kind, tmp_path))

    there = unpack_result(_fit_on_node(pack_task(make_task(kind, tmp_path))), tmp_path)

    assert isinstance(there, Candidate)
    assert there.fingerprint == here.fingerprint
    assert there.result.metrics == here.result.metrics
    assert digest_folder(there.files) == digest_folder(here.files)
    assert there.package.parent == tmp_path


def test_the_champion_travels_with_the_assignment(tmp_path, fitted_models, training_stub):
    """No disk is shared: the node finds its files where it laid them out, not where they came from."""
    files, _ = fitted_models[Kind.FORECASTER]
    incumbent = Incumbent(files, make_task(Kind.FORECASTER, tmp_path).readings["timestamp"].iloc[-1])

    _fit_on_node(pack_task(make_task(Kind.FORECASTER, tmp_path, incumbent=incumbent)))

    (seen,) = training_stub.seen
    assert seen.incumbent.files != files
    assert seen.folder != tmp_path
    assert not seen.incumbent.files.exists()  # gone with its node's folder


def test_an_error_of_a_sensor_is_its_answer(tmp_path):
    few = make_task(Kind.DETECTOR, tmp_path)
    few = make_task(Kind.DETECTOR, tmp_path, readings=few.readings.head(5))

    answer = unpack_result(_fit_on_node(pack_task(few)), tmp_path)

    assert isinstance(answer, NotTrainable)


def test_nothing_to_learn_is_an_answer_too(tmp_path):
    assert unpack_result(ClusterResult(Unchanged("abc"), {}), tmp_path) == Unchanged("abc")


def test_without_ray_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'safeplan\[ray\]'"):
        next(fit_on_cluster([]))


@pytest.fixture
def two_nodes(monkeypatch):
    """A cluster of two nodes with a core each on this machine, small in memory; and the second node."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray = pytest.importorskip("ray")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
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
@pytest.mark.fault("a node of the cluster killed in a training", "its sensors are learned on another")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_of_two_nodes_one_is_killed_and_every_sensor_is_registered_once(workspace, plan, two_nodes):
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
