"""Adapter to MLflow's scoring server: makes it read requests as `safeplan serve` does.

By default that server drops unknown columns and parameters silently, and answers 500 to a request without a
Content-Type. This is the only module that uses its internals: the function `invocations` that every request
passes through. CSV and Parquet stay with MLflow. Bodies are read by `request_bodies`.
"""

import inspect
import sys
from typing import Any

from mlflow import __version__ as mlflow_version
from mlflow.exceptions import MlflowException

from serving.contract import BadRequest
from serving.http.request_bodies import check_content_type, parse_body, to_json
from serving.scoring.fleet_service import FleetService
from training.errors import ConfigurationError

SCORING_SERVER_MODULE = "mlflow.pyfunc.scoring_server"
SERVER_PARAMETERS = ["data", "content_type", "model", "input_schema"]
FRAME_CONTENT_TYPES = ("text/csv", "application/vnd.apache.parquet")  # read by MLflow, not by us


def install_adapter(our_model: object, service: FleetService) -> bool:
    """Read the requests to our model where MLflow's server runs in this process; False where it does not.

    Raises:
        ConfigurationError: this version of MLflow has another scoring server.
    """
    server: Any = sys.modules.get(SCORING_SERVER_MODULE)
    if server is None:
        return False
    original = getattr(server, "invocations", None)
    if original is None or list(inspect.signature(original).parameters) != SERVER_PARAMETERS:
        raise ConfigurationError(
            f"The scoring server of MLflow {mlflow_version} has changed and cannot serve this model. Install "
            "the MLflow version that the model requires, or use safeplan serve."
        )

    def invocations(data: bytes, content_type: str | None, model: Any, input_schema: Any) -> Any:
        if not _is_model(model, our_model) or _is_frame(content_type):
            return original(data, content_type, model, input_schema)
        content, status = handle_invocation(data, content_type, service)
        return server.InvocationsResponse(content.decode(), status, "application/json")

    server.invocations = invocations
    return True


def _is_model(served: Any, our_model: object) -> bool:
    try:
        return served.unwrap_python_model() is our_model
    except MlflowException:
        return False  # a model of another flavor


def _is_frame(content_type: str | None) -> bool:
    return (content_type or "").partition(";")[0].strip().lower() in FRAME_CONTENT_TYPES


def handle_invocation(body: bytes, content_type: str | None, service: FleetService) -> tuple[bytes, int]:
    """The answer to a body as JSON, with its status."""
    try:
        check_content_type(content_type)
        if len(body) > service.limits.body_bytes:
            raise BadRequest(
                f"The body has more than {service.limits.body_bytes:,} bytes. Split the request.", 413
            )
        response = service.scorer.answer(parse_body(body, service.limits))
    except BadRequest as error:
        return to_json({"error": str(error)}), error.status
    return to_json({"predictions": response.records()}), 200
