"""The app around the service: access, limits, metrics, log, description and shutdown."""

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from schemathesis import GenerationMode

from serving.http.app import create_app
from serving.http.server_process import JsonLogFormatter, ServerSettings, check_address, is_loopback
from serving.http.tokens import Tokens
from serving.predictions.store import PredictionStore
from serving.predictions.write_queue import PredictionQueue, PredictionQueueSettings
from serving.scoring.fleet_service import FleetService
from tests.serving.conftest import isolated_workspace, listening
from training.errors import ConfigurationError

STAMP = "2026-01-09T08:00:00Z"
ROWS = {"dataframe_records": [{"sensor_id": "PT-1", "timestamp": STAMP, "value": 20.0}]}
SECRET, OTHER = "correct-horse-battery-staple", "another-token-for-rotation"


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"# the control room\n{SECRET}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def token_client(service, token_file):
    with listening(create_app(service, Tokens(file=token_file))) as url, httpx.Client(base_url=url) as made:
        yield made


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("path", ["/invocations", "/models", "/metrics"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("wrong-token-of-some-length"),
        {"Authorization": SECRET},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": "Bearer"},
    ],
    ids=["none", "wrong", "no scheme", "basic", "empty"],
)
def test_a_request_without_a_valid_token_is_refused(token_client, path, headers):
    answer = token_client.request("POST" if path == "/invocations" else "GET", path, headers=headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "needs a token" in answer.json()["error"]


def test_a_request_with_a_token_is_answered(token_client):
    assert token_client.post("/invocations", json=ROWS, headers=bearer(SECRET)).status_code == 200
    assert token_client.get("/models", headers=bearer(SECRET)).status_code == 200


def test_tokens_are_rotated_without_a_restart(token_client, token_file):
    token_file.write_text(f"{SECRET}\n{OTHER}\n")
    assert token_client.get("/models", headers=bearer(OTHER)).status_code == 200
    assert token_client.get("/models", headers=bearer(SECRET)).status_code == 200

    token_file.write_text(f"{OTHER} \n")

    assert token_client.get("/models", headers=bearer(OTHER)).status_code == 200
    assert token_client.get("/models", headers=bearer(SECRET)).status_code == 401


def test_liveness_needs_no_token_but_shows_details_only_with_one(token_client):
    assert token_client.get("/health").json() == {"status": "ok"}
    assert token_client.get("/ready").json() == {"status": "ready", "warm": False}
    assert "out_of_reach" in token_client.get("/health", headers=bearer(SECRET)).json()


def test_several_tokens_come_from_the_environment():
    tokens = Tokens.from_environment(None, {"SAFEPLAN_TOKENS": f"{SECRET} {OTHER}"})

    assert all(tokens.is_allowed(f"Bearer {token}") for token in (SECRET, OTHER))
    assert not tokens.is_allowed(None)


@pytest.mark.parametrize(
    ("content", "mode", "piece"),
    [
        ("short\n", 0o600, "less than 16"),
        ("# none\n", 0o600, "contains no token"),
        (f"{SECRET}\n", 0o644, "chmod o-r"),
    ],
)
def test_a_token_file_that_protects_nothing_is_refused(tmp_path, content, mode, piece):
    path = tmp_path / "tokens"
    path.write_text(content)
    path.chmod(mode)

    with pytest.raises(ConfigurationError, match=piece):
        Tokens(file=path)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "plant.example"])
def test_without_a_token_it_listens_on_this_machine_only(host, token_file):
    with pytest.raises(ConfigurationError, match="--allow-everyone"):
        check_address(ServerSettings(host=host), Tokens())
    check_address(ServerSettings(host=host), Tokens(file=token_file))
    check_address(ServerSettings(host=host, allow_everyone=True), Tokens())
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_this_machine_needs_no_token(host):
    check_address(ServerSettings(host=host), Tokens())


def test_an_endless_body_without_a_length_is_refused_at_the_limit(client):
    def endless():
        while True:
            yield b" " * 65_536

    with pytest.raises(httpx.HTTPError):
        # The answer may be lost with the connection that is closed on the sender.
        client.post(
            "/invocations", content=endless(), headers={"Content-Type": "application/json"}
        ).raise_for_status()


def test_models_lists_the_serving_version_and_since_when(client):
    client.post("/invocations", json=ROWS)

    reported = client.get("/models").json()

    [model] = reported["models"]
    assert (model["sensor_id"], model["kind"], model["version"]) == ("PT-1", "detector", 1)
    assert model["since"] >= "20"
    assert reported["refused"] == []


def test_metrics_count_requests_rows_errors_and_models(client):
    client.post(
        "/invocations",
        json={"dataframe_records": [*ROWS["dataframe_records"], {"sensor_id": "PT-1", "timestamp": "?"}]},
    )
    client.post("/invocations", content="{", headers={"Content-Type": "application/json"})

    lines = client.get("/metrics").text.splitlines()

    for line in (
        'safeplan_requests_total{path="/invocations",status="200"} 1.0',
        'safeplan_requests_total{path="/invocations",status="400"} 1.0',
        'safeplan_request_errors_total{kind="400"} 1.0',
        'safeplan_rows_total{said="scored"} 1.0',  # quoted
        'safeplan_rows_total{said="error"} 1.0',  # quoted
        "safeplan_request_seconds_count 2.0",
        'safeplan_models_loaded{kind="detector"} 1.0',
        'safeplan_up{what="registry"} 1.0',
    ):
        assert line in lines
    assert any(line.startswith("safeplan_registry_last_contact_timestamp_seconds 1") for line in lines)


def test_the_log_has_requests_without_their_content(token_client, caplog, monkeypatch):
    # MLflow disables existing loggers when it creates its tables in this process.
    monkeypatch.setattr(logging.getLogger("safeplan.requests"), "disabled", False)
    monkeypatch.setattr(logging.getLogger("safeplan"), "propagate", True)
    caplog.set_level(logging.INFO, "safeplan")
    body = {"dataframe_records": [{"sensor_id": "SECRET-TAG", "timestamp": STAMP, "value": 123.456}]}

    token_client.post("/invocations?key=hidden", json=body, headers=bearer(SECRET))

    until = time.monotonic() + 10
    # The line is written after the answer was sent.
    while not (reported := [record for record in caplog.records if record.name == "safeplan.requests"]):
        assert time.monotonic() < until, "no line in the log"
        time.sleep(0.01)
    written = [JsonLogFormatter().format(record) for record in reported]
    line = json.loads(written[-1])
    assert (line["path"], line["status"], line["rows"], line["row_errors"]) == ("/invocations", 200, 1, 1)
    assert not any(word in "".join(written) for word in ("SECRET-TAG", "123.456", SECRET, "hidden"))


def test_a_request_that_takes_too_long_is_answered_with_503(service, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(service.scorer, "answer", lambda _: release.wait(20))
    service.limits = service.limits.model_copy(update={"seconds": 0.2})
    with listening(create_app(service, Tokens())) as url:
        answer = httpx.post(f"{url}/invocations", json=ROWS)
        release.set()

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "No answer within 0.2 s" in answer.json()["error"]


def test_requests_beyond_the_queue_limit_are_answered_with_503(service, monkeypatch):
    release, usual = threading.Event(), service.scorer.answer
    monkeypatch.setattr(service.scorer, "answer", lambda ask: (release.wait(20), usual(ask))[1])
    service.limits = service.limits.model_copy(update={"at_once": 1, "waiting": 1})
    with listening(create_app(service, Tokens())) as url, ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(httpx.post, f"{url}/invocations", json=ROWS, timeout=30) for _ in range(6)]
        while sum(one.done() for one in asked) < 4:
            time.sleep(0.01)
        release.set()

    statuses = sorted(one.result().status_code for one in asked)
    assert statuses == [200, 200, 503, 503, 503, 503]


def test_the_shutdown_finishes_requests_in_progress(service, monkeypatch):
    begun, usual = threading.Event(), service.scorer.answer

    def slowly(ask):
        begun.set()
        time.sleep(0.5)
        return usual(ask)

    monkeypatch.setattr(service.scorer, "answer", slowly)
    with ThreadPoolExecutor(1) as pool:
        with listening(create_app(service, Tokens())) as url:
            asked = pool.submit(httpx.post, f"{url}/invocations", json=ROWS)
            assert begun.wait(10)
        answer = asked.result()

    assert answer.status_code == 200


def test_an_internal_error_is_a_500_and_a_trace_in_the_log(client, service, monkeypatch, caplog):
    monkeypatch.setattr(service.scorer, "answer", lambda _: 1 / 0)

    answer = client.post("/invocations", json=ROWS)

    assert (answer.status_code, list(answer.json())) == (500, ["error"])
    assert "ZeroDivisionError" in caplog.text


def test_an_answer_from_memory_has_a_note_in_a_header(client, service, monkeypatch):
    monkeypatch.setattr(service.recent, "_away_until", time.monotonic() + 60)
    monkeypatch.setattr(service.recent, "unreachable_reason", "connection refused")

    answer = client.post("/invocations", json=ROWS)

    assert answer.headers["safeplan-note"] == "readings store unreachable"
    assert client.get("/health").json()["status"] == "degraded"


def test_answers_are_stored_when_configured(trained_workspace, service, tmp_path):
    store = PredictionStore(trained_workspace.engine)
    queue = PredictionQueue(
        lambda: store, PredictionQueueSettings(keep=True, every=0.05), leftover=tmp_path / "left"
    )
    queue.start()
    with listening(create_app(service, Tokens(), queue)) as url:
        httpx.post(f"{url}/invocations", json=ROWS | {"params": {"horizon": 3}}).raise_for_status()

    kept = store.by_sensor("PT-1")
    assert kept["model_type"].value_counts().to_dict() == {"FORECASTER": 3, "ANOMALY_DETECTOR": 1}
    assert queue.counts == {"waiting": 0, "kept": 4, "lost": 0}


@pytest.fixture(scope="module")
def openapi_schema(trained_home):
    """Every operation of the description of a running app."""
    with isolated_workspace(trained_home) as workspace:
        app = create_app(FleetService(workspace), Tokens(given=SECRET))
        with listening(app) as url:
            schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
            yield {operation.ok().path: operation.ok() for operation in schema.get_all_operations()}


PATHS = ["/invocations", "/models", "/metrics", "/health", "/ready"]


def test_every_path_is_described(openapi_schema):
    assert list(openapi_schema) == PATHS


def test_valid_requests_are_answered_as_described(openapi_schema):
    for path in PATHS:
        _fuzz(openapi_schema[path].as_strategy(), examples=50 if path == "/invocations" else 3)


def test_invalid_requests_are_answered_as_described(openapi_schema):
    """An invalid row has an error of its own, so not every invalid request is refused."""
    broken = openapi_schema["/invocations"].as_strategy(generation_mode=GenerationMode.NEGATIVE)
    _fuzz(
        broken, examples=50, excluded_checks=[schemathesis.checks.CHECKS.get_one("negative_data_rejection")]
    )


def _fuzz(cases, *, examples, **how):
    @given(case=cases)
    @hypothesis_settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case):
        case.call_and_validate(headers=bearer(SECRET), **how)

    ask()
