"""MLflow's scoring server, made to read requests as `safeplan serve` reads them.

By itself it drops unknown columns and parameters without a word, and answers a request without a Content-Type
with 500. Knows the one function of that server through which every request goes. Leaves bodies to `bodies`,
and CSV and Parquet to MLflow, which reads them into frames.
"""

import sys
from typing import Any

from serving.contract import BadRequest
from serving.http.request_bodies import check_content_type, parse_body, to_json
from serving.scoring.fleet_service import FleetService

SCORING_SERVER_MODULE = "mlflow.pyfunc.scoring_server"
FRAME_CONTENT_TYPES = ("text/csv", "application/vnd.apache.parquet")  # what MLflow reads, and we do not


def install_adapter(our_model: object, service: FleetService) -> bool:
    """Read the requests to our model ourselves, where MLflow's server is what serves it; whether it is."""
    server: Any = sys.modules.get(SCORING_SERVER_MODULE)
    original = getattr(server, "invocations", None)
    if original is None:
        return False

    def invocations(data: bytes, content_type: str | None, model: Any, input_schema: Any) -> Any:
        served = getattr(getattr(model, "_model_impl", None), "python_model", None)
        if (
            served is not our_model
            or (content_type or "").partition(";")[0].strip().lower() in FRAME_CONTENT_TYPES
        ):
            return original(data, content_type, model, input_schema)
        content, status = handle_invocation(data, content_type, service)
        return server.InvocationsResponse(content.decode(), status, "application/json")

    server.invocations = invocations
    return True


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
