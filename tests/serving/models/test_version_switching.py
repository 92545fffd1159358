"""Promotions are live without a restart, broken versions never serve, and outages are survived."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import mlflow
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import FunctionTransformer

from serving.contract import PredictionRequest
from serving.models import acceptance
from serving.models.champions import CacheSettings, Champions
from serving.models.poller import Poller, PollSettings
from serving.models.serving_state import ServingState
from serving.scoring.fleet_service import FleetService
from serving.vectorized.packed_detector import PackedDetector
from training.artifacts.model_files import digest_folder
from training.errors import NoChampion, RegistryError, StoreError
from training.kinds import Kind
from training.operations.promotion import promote_version, roll_back
from training.reasons import Reason, ReasonCode
from training.registry.model_registry import CHAMPION
from training.registry.version_files import fetch_files

STAMP = "2026-01-20T08:00:00Z"
KIND = Kind.DETECTOR


def version_of(service, sensor_id="PT-1"):
    [row] = service.scorer.answer(PredictionRequest([sensor_id], [STAMP], [20.0])).records()
    assert row["error"] is None
    return row["detector_version"]


def promote(workspace, number):
    promote_version(workspace, workspace.fleet.sensor("PT-1"), KIND, number=number, anyway=True)


def another(workspace, *, source=None, **tags):
    """Another version of PT-1's detector: the files of the first one, with other tags."""
    registry = workspace.registry
    first = registry.version(registry.name("PT-1", KIND), 1)
    source = source or workspace.mlflow.get_model_version(first.name, "1").source
    return registry.register(
        "PT-1", KIND, source=source, run_id=first.run_id, model_id=None, tags={**first.tags, **tags}
    )


def test_a_promotion_is_live_after_the_next_refresh(trained_workspace, service):
    assert version_of(service) == "1"
    promote(trained_workspace, 2)

    service.champions.refresh()

    assert version_of(service) == "2"
    assert service.champions.event_counts.takeovers == 1


def test_a_roll_back_is_live_after_the_next_refresh(trained_workspace, service):
    promote(trained_workspace, 2)
    service.champions.refresh()
    assert version_of(service) == "2"

    roll_back(trained_workspace, trained_workspace.fleet.sensor("PT-1"), KIND)
    service.champions.refresh()

    assert version_of(service) == "1"


def test_an_alias_moved_in_the_mlflow_ui_has_the_same_effect(trained_workspace, service):
    version_of(service)
    trained_workspace.mlflow.set_registered_model_alias("pt-1-detector", CHAMPION, "2")

    service.champions.refresh()

    assert version_of(service) == "2"


def test_a_poller_refreshes_by_itself(trained_workspace, service):
    version_of(service)
    seen = threading.Event()

    def poll():
        service.champions.refresh()
        seen.set()

    poller = Poller(poll, PollSettings(every=0.05))
    promote(trained_workspace, 2)

    poller.start()

    assert seen.wait(20)
    poller.close()
    assert version_of(service) == "2"


def test_pauses_vary_but_are_never_longer_than_five_seconds():
    pauses = [Poller(None, PollSettings(), rng=Random(seed)).pause() for seed in range(200)]

    assert min(pauses) < 3.2
    assert 4.8 < max(pauses) <= 5.0


def test_the_duration_of_a_poll_shortens_the_next_pause():
    poller = Poller(None, PollSettings(every=4.0, jitter=0.0))

    assert poller.pause(spent=1.0) == pytest.approx(3.0)
    assert poller.pause(spent=60.0) > 0


BROKEN = {
    "altered": {"model_sha256": "0" * 64},
    "without a hash": {"model_sha256": ""},
    "of another sensor": {"sensor_id": "TT-1"},
    "of the other kind": {"kind": "forecaster"},
}


@pytest.mark.parametrize("tags", BROKEN.values(), ids=BROKEN)
def test_a_broken_version_never_serves(trained_workspace, service, tags, caplog):
    assert version_of(service) == "1"
    broken = another(trained_workspace, **tags)
    trained_workspace.mlflow.set_registered_model_alias(broken.name, CHAMPION, str(broken.number))

    service.champions.refresh()

    assert version_of(service) == "1"
    assert (
        "refused: "
        in trained_workspace.mlflow.get_model_version(broken.name, str(broken.number)).tags["serving"]
    )
    assert list(service.champions.event_counts.refused) == [broken.uri]
    assert service.champions.event_counts.refusals == 1
    assert f"{broken.uri} does not serve" in caplog.text


def cut_short(files):
    skops = next(files.glob("forest*.skops"))
    skops.write_bytes(skops.read_bytes()[:-100])


def with_a_foreign_type(files):
    (files / "forest_points.skops").write_bytes(skops.io.dumps(FunctionTransformer(func=print)))


def with_a_pickle(files):
    (files / "forest_points.skops").write_bytes(pickle.dumps(LinearRegression()))


def without_a_file(files):
    (files / "detector.json").unlink()


def with_nonsense(files):
    (files / "detector.json").write_text('{"format": 99}')


@pytest.mark.parametrize(
    "spoil", [cut_short, with_a_foreign_type, with_a_pickle, without_a_file, with_nonsense]
)
def test_registered_files_that_are_no_valid_model_never_serve(trained_workspace, service, tmp_path, spoil):
    assert version_of(service) == "1"
    copy = Path(
        mlflow.artifacts.download_artifacts("models:/pt-1-detector/1", dst_path=str(tmp_path / "copy"))
    )
    spoil(copy / "data" / "model")
    broken = another(trained_workspace, source=str(copy), model_sha256=digest_folder(copy / "data" / "model"))
    trained_workspace.mlflow.set_registered_model_alias(broken.name, CHAMPION, str(broken.number))

    service.champions.refresh()

    assert version_of(service) == "1"
    assert list(service.champions.event_counts.refused) == [broken.uri]


def fail_to_fetch(monkeypatch, *, times):
    """As if the network failed during the next downloads."""
    left = [times]

    def fetched(version, cache):
        if left[0]:
            left[0] -= 1
            raise RegistryError(f"cannot fetch the files of {version.uri}: connection reset")
        return fetch_files(version, cache)

    monkeypatch.setattr(acceptance, "fetch_files", fetched)


def test_a_good_version_that_failed_to_download_once_is_not_refused(
    trained_workspace, service, monkeypatch, caplog
):
    version_of(service)
    fail_to_fetch(monkeypatch, times=1)
    good = another(trained_workspace)
    trained_workspace.registry.promote(good)

    service.champions.refresh()
    assert version_of(service) == "1"
    service.champions.refresh()

    assert version_of(service) == str(good.number)
    assert service.champions.event_counts.refusals == 0
    assert "serving" not in trained_workspace.mlflow.get_model_version(good.name, str(good.number)).tags
    assert "is tried again" in caplog.text


def test_a_version_whose_files_cannot_be_fetched_is_refused_with_the_error(
    trained_workspace, service, monkeypatch
):
    version_of(service)
    fail_to_fetch(monkeypatch, times=9)
    lost = another(trained_workspace)
    trained_workspace.registry.promote(lost)

    for _ in range(2):
        service.champions.refresh()

    assert version_of(service) == "1"
    assert (
        "connection reset"
        in trained_workspace.mlflow.get_model_version(lost.name, str(lost.number)).tags["serving"]
    )


def test_a_refusal_ends_when_the_alias_moves_back(trained_workspace, service):
    version_of(service)
    broken = another(trained_workspace, **BROKEN["altered"])
    trained_workspace.mlflow.set_registered_model_alias(broken.name, CHAMPION, str(broken.number))
    service.champions.refresh()

    trained_workspace.mlflow.set_registered_model_alias(broken.name, CHAMPION, "1")
    service.champions.refresh()

    assert service.champions.event_counts.refused == {}
    assert version_of(service) == "1"


def test_a_removed_champion_no_longer_serves(trained_workspace, service):
    version_of(service)
    trained_workspace.mlflow.delete_registered_model_alias("pt-1-detector", CHAMPION)

    service.champions.refresh()

    with pytest.raises(NoChampion):
        service.champions.detector("PT-1")


def test_after_a_restart_the_last_serving_version_replaces_a_broken_champion(trained_workspace, service):
    version_of(service)
    service.champions.refresh()
    broken = another(trained_workspace, **BROKEN["altered"])
    trained_workspace.mlflow.set_registered_model_alias(broken.name, CHAMPION, str(broken.number))

    restarted = FleetService(trained_workspace)

    assert version_of(restarted) == "1"
    restarted.close()


@pytest.fixture
def break_registry(monkeypatch):
    """Once it is called, every registry call fails."""

    def fail_all_calls(workspace):
        def refuse(*_, **__):
            raise RegistryError("cannot list the registered models: connection refused")

        for name in ("listings", "version", "tag"):
            monkeypatch.setattr(workspace.registry, name, refuse)
        monkeypatch.setattr(acceptance, "fetch_files", refuse)

    return fail_all_calls


def test_an_unreachable_registry_is_reported_while_answers_continue(
    trained_workspace, service, break_registry
):
    version_of(service)
    break_registry(trained_workspace)

    with pytest.raises(RegistryError):
        service.champions.refresh()

    assert version_of(service) == "1"
    assert "connection refused" in service.unreachable_parts()["registry"]


def test_a_restart_while_the_registry_is_unreachable_serves_the_last_versions(
    trained_workspace, service, break_registry
):
    for sensor_id in ("PT-1", "TT-1"):
        version_of(service, sensor_id)
    service.champions.refresh()
    break_registry(trained_workspace)

    with pytest.raises(RegistryError):
        Champions(
            trained_workspace.registry, trained_workspace.model_cache
        )  # without a stored state nothing can serve
    restarted = Champions(
        trained_workspace.registry,
        trained_workspace.model_cache,
        serving_state=ServingState(trained_workspace.model_cache / "served.json"),
    )

    assert restarted.detector("TT-1").version.number == 1


def test_answers_from_memory_have_a_note_while_the_database_is_unreachable(
    trained_workspace, service, monkeypatch
):
    usual = service.scorer.answer(PredictionRequest(["PT-1"], [STAMP], [21.0]))

    def refuse(*_):
        raise StoreError("connection refused")

    monkeypatch.setattr(service.recent, "open_store", refuse)
    alone = service.scorer.answer(PredictionRequest(["PT-1", "TT-1"], [STAMP] * 2, [21.0] * 2))

    assert usual.notes == ()
    assert alone.notes == (Reason(ReasonCode.SERVING_STORE_UNREACHABLE),)
    assert alone.columns["anomaly_score"][0] == usual.columns["anomaly_score"][0]
    assert "scored with the readings in memory" in alone.columns["reason"][0]
    assert "scored with the posted readings only" in alone.columns["reason"][1]
    assert [reasons[-1].code for reasons in alone.reasons] == [
        ReasonCode.SERVING_SCORED_FROM_MEMORY,
        ReasonCode.SERVING_SCORED_FROM_REQUEST,
    ]
    assert "connection refused" in service.unreachable_parts()["readings"]


def test_a_hanging_database_delays_one_request_only(trained_workspace, service, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(
        service.recent, "settings", service.recent.settings.model_copy(update={"patience": 0.2})
    )
    monkeypatch.setattr(service.recent, "open_store", release.wait)

    first = service.recent.get_tails(["PT-1"])
    again = service.recent.get_tails(["PT-1"])
    release.set()

    assert not first.reached
    assert not again.reached


def test_no_answer_mixes_two_versions_of_one_sensor(trained_workspace, service):
    """Eight threads request forty rows of one sensor while its alias moves back and forth."""
    version_of(service)
    stop = threading.Event()
    ask = PredictionRequest(
        ["PT-1", "TT-1"] * 20, [f"2026-01-20T{n % 24:02}:00:00Z" for n in range(40)], [20.0] * 40
    )

    def work():
        seen = set()
        while not stop.is_set():
            columns = service.scorer.answer(ask).columns
            assert set(columns["error"]) == {None}
            versions = {
                one
                for one, name in zip(columns["detector_version"], columns["sensor_id"], strict=True)
                if name == "PT-1"
            }
            assert len(versions) == 1
            seen |= versions
        return seen

    with ThreadPoolExecutor(8) as pool:
        workers = [pool.submit(work) for _ in range(8)]
        for turn in range(6):
            promote(trained_workspace, 1 + turn % 2)
            service.champions.refresh()
        stop.set()

    assert set().union(*(one.result() for one in workers)) == {"1", "2"}


def test_memory_holds_the_most_recently_requested_sensors(trained_workspace):
    champions = Champions(
        trained_workspace.registry, trained_workspace.model_cache, settings=CacheSettings(sensors=1)
    )
    for sensor_id in ("PT-1", "TT-1"):
        champions.detector(sensor_id)
        champions.forecaster(sensor_id)

    assert {key[0] for key in champions.loaded()} == {"TT-1"}
    assert champions.event_counts.evictions == 2
    assert champions.detector("PT-1").version.number == 1


def test_a_restart_loads_checked_copies_and_packs_an_altered_one_again(trained_workspace, service, caplog):
    before = version_of(service)
    [copy] = (trained_workspace.model_cache / "pt-1-detector").glob("*.npz")
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)

    restarted = FleetService(trained_workspace)

    assert version_of(restarted) == before
    assert "packed again" in caplog.text
    assert isinstance(restarted.champions.detector("PT-1").model, PackedDetector)
    restarted.close()


def test_new_readings_are_used_by_the_next_request(trained_workspace, service):
    ask = PredictionRequest(["PT-1"], ["2026-01-20T09:00:00Z"], [20.0])
    before = service.scorer.answer(ask).columns["historical_average"]
    times = pd.date_range("2026-01-20", periods=9, freq="h")
    trained_workspace.readings.ingest(pd.DataFrame({"sensor_id": "PT-1", "timestamp": times, "value": 35.0}))

    after = service.scorer.answer(ask).columns["historical_average"]

    assert after[0] > before[0]
