"""MLflow's scoring server with our model in it: the same answers and refusals as `safeplan serve`."""

import json

import pytest
from mlflow.pyfunc import scoring_server

from serving.http.mlflow_adapter import handle_invocation, install_adapter
from tests.serving.http.test_bad_requests import GOOD, JSON, REFUSED, WRONG_ROWS, records


class LoadedModel:
    """A loaded pyfunc, as far as the server looks at it."""

    def __init__(self, python_model):
        self._model_impl = self
        self.python_model = python_model


@pytest.fixture
def loaded_model(service, monkeypatch):
    monkeypatch.setattr(scoring_server, "invocations", scoring_server.invocations)
    python_model = object()
    assert install_adapter(python_model, service)
    return LoadedModel(python_model)


@pytest.mark.parametrize(
    ("headers", "body", "status", "piece"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_the_endpoint_refuses_is_refused_here_too(shared_service, headers, body, status, piece):
    content = body.encode() if isinstance(body, str) else body

    answer, result = handle_invocation(content, headers.get("Content-Type"), shared_service)

    assert result == status
    assert piece in json.loads(answer)["error"]


def test_a_row_that_cannot_be_answered_has_an_error_here_too(shared_service):
    rows = [GOOD | changes for changes, _ in WRONG_ROWS]

    answer, status = handle_invocation(records(*rows).encode(), JSON["Content-Type"], shared_service)

    assert status == 200
    for row, (_, piece) in zip(json.loads(answer)["predictions"], WRONG_ROWS, strict=True):
        assert piece in row["error"]


def test_the_server_asks_us(loaded_model):
    answer = scoring_server.invocations(records(GOOD).encode(), None, loaded_model, None)

    assert (answer.status, answer.mimetype) == (415, "application/json")
    assert "no Content-Type" in json.loads(answer.response)["error"]


def test_models_of_others_and_frames_stay_mlflows(service, monkeypatch):
    seen = []
    monkeypatch.setattr(scoring_server, "invocations", lambda *asked: seen.append(asked))
    python_model = object()
    install_adapter(python_model, service)

    scoring_server.invocations(b"", None, LoadedModel(object()), None)
    scoring_server.invocations(b"", "text/csv; charset=utf-8", LoadedModel(python_model), None)

    assert len(seen) == 2
