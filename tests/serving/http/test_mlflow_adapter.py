"""MLflow's scoring server with our model gives the same answers and errors as `safeplan serve`."""

import inspect
import json
import sys
from types import SimpleNamespace

import httpx
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel, scoring_server

from serving.http.mlflow_adapter import (
    SCORING_SERVER_MODULE,
    SERVER_PARAMETERS,
    handle_invocation,
    install_adapter,
)
from tests.serving.conftest import listening
from tests.serving.http.test_bad_requests import GOOD, JSON, REFUSED, WRONG_ROWS, records
from training.errors import ConfigurationError


class LoadedModel:
    """A loaded pyfunc model, as far as the adapter uses it."""

    def __init__(self, python_model):
        self.python_model = python_model

    def unwrap_python_model(self):
        if self.python_model is None:
            raise MlflowException("Unable to retrieve base model object from pyfunc.")
        return self.python_model


@pytest.fixture
def loaded_model(service, monkeypatch):
    monkeypatch.setattr(scoring_server, "invocations", scoring_server.invocations)
    python_model = object()
    assert install_adapter(python_model, service)
    return LoadedModel(python_model)


@pytest.mark.parametrize(
    ("headers", "body", "status", "piece"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_a_request_that_the_endpoint_refuses_is_refused_here_too(
    shared_service, headers, body, status, piece
):
    content = body.encode() if isinstance(body, str) else body

    answer, result = handle_invocation(content, headers.get("Content-Type"), shared_service)

    assert result == status
    assert piece in json.loads(answer)["error"]


def test_an_invalid_row_has_an_error_here_too(shared_service):
    rows = [GOOD | changes for changes, _ in WRONG_ROWS]

    answer, status = handle_invocation(records(*rows).encode(), JSON["Content-Type"], shared_service)

    assert status == 200
    for row, (_, piece) in zip(json.loads(answer)["predictions"], WRONG_ROWS, strict=True):
        assert piece in row["error"]


def test_requests_to_our_model_are_read_by_us(loaded_model):
    answer = scoring_server.invocations(records(GOOD).encode(), None, loaded_model, None)

    assert (answer.status, answer.mimetype) == (415, "application/json")
    assert "no Content-Type" in json.loads(answer.response)["error"]


def test_other_models_and_frames_are_left_to_mlflow(service, monkeypatch):
    passed_on = []

    def invocations(data, content_type, model, input_schema):
        passed_on.append(content_type)

    monkeypatch.setattr(scoring_server, "invocations", invocations)
    python_model = object()
    install_adapter(python_model, service)

    scoring_server.invocations(b"", None, LoadedModel(object()), None)
    scoring_server.invocations(b"", "application/json", LoadedModel(None), None)
    scoring_server.invocations(b"", "text/csv; charset=utf-8", LoadedModel(python_model), None)

    assert passed_on == [None, "application/json", "text/csv; charset=utf-8"]


def test_without_mlflows_server_in_the_process_nothing_is_replaced(service, monkeypatch):
    monkeypatch.delitem(sys.modules, SCORING_SERVER_MODULE)

    assert not install_adapter(object(), service)


@pytest.mark.parametrize("changed", [None, sorted], ids=["missing", "other parameters"])
def test_an_mlflow_with_another_scoring_server_is_refused(service, monkeypatch, changed):
    monkeypatch.setattr(scoring_server, "invocations", changed)

    with pytest.raises(ConfigurationError, match="scoring server of MLflow"):
        install_adapter(object(), service)


def test_the_installed_mlflow_has_the_interface_that_the_adapter_replaces():
    """Fails after an upgrade that changes it: adapt `serving.http.mlflow_adapter`."""
    answer = scoring_server.InvocationsResponse("text", 200, "application/json")

    assert list(inspect.signature(scoring_server.invocations).parameters) == SERVER_PARAMETERS
    assert (answer.response, answer.status, answer.mimetype) == ("text", 200, "application/json")
    assert hasattr(PyFuncModel, "unwrap_python_model")


def test_the_installed_mlflow_calls_the_replaced_function(loaded_model, monkeypatch):
    """Fails after an upgrade whose server no longer looks the function up in its module."""
    loaded_model.metadata = SimpleNamespace(get_input_schema=lambda: None)
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")

    with listening(scoring_server.init(loaded_model)) as url:
        answer = httpx.post(f"{url}/invocations", content=records(GOOD), headers=JSON)

    assert [row["value"] for row in answer.json()["predictions"]] == [20.0]
