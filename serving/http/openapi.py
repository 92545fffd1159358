"""The OpenAPI description of the app, derived from the contract's columns and limits.

A test fuzzes the app against it. The behaviour is in `app`.
"""

from typing import Any

from serving.contract import COLUMNS_OUT, EXAMPLE, FLAG, NUMBER, PARAMS, TEXT, Limits
from training.kinds import Kind

NOTE_HEADER = "SafePlan-Note"
JSON_TYPES = {TEXT: "string", NUMBER: "number", FLAG: "boolean"}
DESCRIPTION = (
    "Anomaly scores and forecasts for any sensor. A row with a value is scored, a row without a value is "
    "forecast at its timestamp; `params.horizon` appends the next steps of each sensor in the request. A row "
    "that cannot be answered gets an `error`; the others are answered."
)

Responses = dict[int | str, dict[str, Any]]

STRING_SCHEMA = {"type": "string"}


def _nullable(kind: str) -> dict[str, Any]:
    return {"type": [kind, "null"]}


ROW_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["sensor_id", "timestamp"],
    "properties": {
        "sensor_id": {"type": "string", "minLength": 1, "maxLength": 200},
        "timestamp": {
            "type": "string",
            "description": "ISO 8601; without a zone, read in the configured zone",
        },
        "value": _nullable("number"),
    },
}
RESPONSE_SCHEMA = {
    "type": "object",
    "required": ["predictions"],
    "properties": {
        "predictions": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": list(COLUMNS_OUT),
                "properties": {name: _nullable(JSON_TYPES[kind]) for name, kind in COLUMNS_OUT.items()},
            },
        }
    },
}
ERROR_DESCRIPTIONS = {
    400: "Invalid request; the error states why",
    401: "No valid token",
    404: "Unknown path",
    405: "The path does not accept this method",
    408: "The body did not arrive in time",
    413: "Too many rows, steps or bytes",
    415: "Not JSON in UTF-8",
    500: "Internal error; see the server log",
    503: "Too many requests, too slow, or no champion to serve",
}


def _object_schema(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _array_schema(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": _object_schema(**properties)}


def _json_content(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema, **more}}}


def error_responses(*statuses: int) -> Responses:
    """The errors that an operation may return."""
    return {
        status: {
            "description": ERROR_DESCRIPTIONS[status],
            **_json_content(_object_schema(error=STRING_SCHEMA)),
        }
        for status in statuses
    }


def invocations_spec(limits: Limits) -> dict[str, Any]:
    """The request and response of `POST /invocations` within these limits."""
    horizon = {"type": "integer", "minimum": 0, "maximum": limits.horizon, "default": PARAMS["horizon"]}
    rows = {"type": "array", "minItems": 1, "maxItems": limits.rows, "items": ROW_SCHEMA}
    params = {"type": "object", "additionalProperties": False, "properties": {"horizon": horizon}}
    body = {
        "type": "object",
        "additionalProperties": False,
        "required": ["dataframe_records"],
        "properties": {"dataframe_records": rows, "params": params},
    }
    return {
        "requestBody": {
            "required": True,
            "description": (
                f"At most {limits.body_bytes:,} bytes, and {limits.answer_rows:,} answer rows: the request's "
                "rows plus the steps ahead of each sensor. MLflow's layouts dataframe_split, instances and "
                "inputs are accepted as well."
            ),
            **_json_content(body, example={"dataframe_records": EXAMPLE, "params": {"horizon": 24}}),
        },
        "responses": {
            "200": {
                "description": "One object per request row, in that order, then one per step ahead",
                "headers": {NOTE_HEADER: {"description": "What was unreachable", "schema": STRING_SCHEMA}},
                **_json_content(RESPONSE_SCHEMA),
            }
        },
    }


TOKEN_SECURITY: dict[str, Any] = {"security": [{"token": []}]}
SECURITY_SCHEMES = {"token": {"type": "http", "scheme": "bearer"}}

LOADED_MODELS_SCHEMA = _array_schema(
    sensor_id=STRING_SCHEMA,
    kind={"type": "string", "enum": [kind.value for kind in Kind]},
    model=STRING_SCHEMA,
    version={"type": "integer"},
    since=STRING_SCHEMA,
    trained_until=_nullable("string"),
)
MODELS_RESPONSES: Responses = {
    200: {
        "description": "The models in memory, and the champions that were refused",
        **_json_content(
            _object_schema(
                models=LOADED_MODELS_SCHEMA, refused=_array_schema(model=STRING_SCHEMA, why=STRING_SCHEMA)
            )
        ),
    }
}
HEALTH_RESPONSES: Responses = {
    200: {
        "description": "ok or degraded; with a token also what is unreachable, and the errors",
        **_json_content(_object_schema(status={"type": "string", "enum": ["ok", "degraded"]})),
    }
}
READY_RESPONSES: Responses = {
    200: {
        "description": "There are champions; warm once all of them have been loaded",
        **_json_content(_object_schema(status={"const": "ready"}, warm={"type": "boolean"})),
    }
}
METRICS_RESPONSES: Responses = {
    200: {"description": "Prometheus' text format", "content": {"text/plain": {"schema": STRING_SCHEMA}}}
}
