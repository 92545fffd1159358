"""What the app says of itself in `/openapi.json`; fuzzed against the app by a test.

Knows schemas, derived from the contract's columns. Knows no behaviour.
"""

from typing import Any

from serving.contract import COLUMNS_OUT, EXAMPLE, FLAG, NUMBER, PARAMS, TEXT

JSON_TYPES = {TEXT: "string", NUMBER: "number", FLAG: "boolean"}
DESCRIPTION = (
    "Is this reading odd, and what comes next, for any sensor. A row with a value is scored, a row without "
    "one is forecast at its timestamp; `params.horizon` appends the next steps of each sensor named. A row "
    "that cannot be answered gets an `error`; the others are answered."
)


def _or_null(kind: str) -> dict[str, Any]:
    return {"type": [kind, "null"]}


ROW = {
    "type": "object",
    "additionalProperties": False,
    "required": ["sensor_id", "timestamp"],
    "properties": {
        "sensor_id": {"type": "string", "minLength": 1, "maxLength": 200},
        "timestamp": {"type": "string", "description": "ISO 8601, any zone; without one, the zone of conf"},
        "value": _or_null("number"),
    },
}
ROWS = {"type": "array", "minItems": 1, "items": ROW}
HORIZON = {"type": "integer", "minimum": 0, "maximum": 1000, "default": PARAMS["horizon"]}
BODY = {
    "type": "object",
    "additionalProperties": False,
    "required": ["dataframe_records"],
    "properties": {
        "dataframe_records": ROWS,
        "params": {"type": "object", "additionalProperties": False, "properties": {"horizon": HORIZON}},
    },
}
ANSWER = {
    "type": "object",
    "required": ["predictions"],
    "properties": {
        "predictions": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": list(COLUMNS_OUT),
                "properties": {name: _or_null(JSON_TYPES[kind]) for name, kind in COLUMNS_OUT.items()},
            },
        }
    },
}
ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
MEANINGS = {
    400: "The request cannot be meant; the sentence says why",
    401: "No valid token",
    404: "There is no such path",
    405: "The path does not take this method",
    408: "The body did not arrive in time",
    413: "Too many rows, steps or bytes",
    415: "Not JSON in UTF-8",
    503: "Too busy, too slow, or nothing to serve",
}


def _json(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema, **more}}}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors an operation may answer with."""
    return {status: {"description": MEANINGS[status], **_json(ERROR)} for status in statuses}


INVOCATIONS = {
    "requestBody": {
        "required": True,
        "description": "The layouts dataframe_split, instances and inputs of MLflow are understood as well.",
        **_json(BODY, example={"dataframe_records": EXAMPLE, "params": {"horizon": 24}}),
    },
    "responses": {"200": {"description": "One object a row, in the order asked", **_json(ANSWER)}},
}
SECURED: dict[str, Any] = {"security": [{"token": []}]}
SCHEMES = {"token": {"type": "http", "scheme": "bearer"}}
MODELS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "What is in memory",
        **_json(
            {
                "type": "object",
                "required": ["models", "refused"],
                "properties": {
                    "models": {"type": "array", "items": {"type": "object"}},
                    "refused": {"type": "array", "items": {"type": "object"}},
                },
            }
        ),
    }
}
STATE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The state in a word",
        **_json({"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}),
    }
}
TEXTUAL = {
    "description": "Prometheus' text format",
    "content": {"text/plain": {"schema": {"type": "string"}}},
}
METRICS_TEXT: dict[int | str, dict[str, Any]] = {200: TEXTUAL}
