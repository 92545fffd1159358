"""MLflow's scoring server, made to read requests as `safeplan serve` reads them.

By itself it drops unknown columns and parameters without a word, and answers a request without a Content-Type
with 500. Knows the one function of that server through which every request goes. Leaves bodies to `bodies`,
and CSV and Parquet to MLflow, which reads them into frames.
"""

import sys
from typing import Any

from serving.contract import BadRequest
from serving.http.request_bodies import as_json, check_content_type, read_body
from serving.scoring.fleet_service import FleetService

SERVER = "mlflow.pyfunc.scoring_server"
FRAMES = ("text/csv", "application/vnd.apache.parquet")  # what MLflow reads, and we do not


def open_door(ours: object, service: FleetService) -> bool:
    """Read the requests to our model ourselves, where MLflow's server is what serves it; whether it is."""
    server: Any = sys.modules.get(SERVER)
    theirs = getattr(server, "invocations", None)
    if theirs is None:
        return False

    def invocations(data: bytes, content_type: str | None, model: Any, input_schema: Any) -> Any:
        served = getattr(getattr(model, "_model_impl", None), "python_model", None)
        if served is not ours or (content_type or "").partition(";")[0].strip().lower() in FRAMES:
            return theirs(data, content_type, model, input_schema)
        content, status = respond(data, content_type, service)
        return server.InvocationsResponse(content.decode(), status, "application/json")

    server.invocations = invocations
    return True


def respond(body: bytes, content_type: str | None, service: FleetService) -> tuple[bytes, int]:
    """The answer to a body as JSON, with its status."""
    try:
        check_content_type(content_type)
        if len(body) > service.limits.body_bytes:
            raise BadRequest(
                f"The body has more than {service.limits.body_bytes:,} bytes. Split the request.", 413
            )
        answer = service.scorer.answer(read_body(body, service.limits))
    except BadRequest as error:
        return as_json({"error": str(error)}), error.status
    return as_json({"predictions": answer.records()}), 200
