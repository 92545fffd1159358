"""What the app says of itself in `/openapi.json`; fuzzed against the app by a test.

Knows schemas, derived from the contract's columns and the limits. Knows no behaviour.
"""

from typing import Any

from serving.contract import COLUMNS_OUT, EXAMPLE, FLAG, NUMBER, PARAMS, TEXT, Limits
from training.kinds import Kind

NOTE = "SafePlan-Note"
JSON_TYPES = {TEXT: "string", NUMBER: "number", FLAG: "boolean"}
DESCRIPTION = (
    "Is this reading odd, and what comes next, for any sensor. A row with a value is scored, a row without "
    "one is forecast at its timestamp; `params.horizon` appends the next steps of each sensor named. A row "
    "that cannot be answered gets an `error`; the others are answered."
)


Responses = dict[int | str, dict[str, Any]]

TEXTUAL = {"type": "string"}


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
MEANINGS = {
    400: "The request cannot be meant; the sentence says why",
    401: "No valid token",
    404: "There is no such path",
    405: "The path does not take this method",
    408: "The body did not arrive in time",
    413: "Too many rows, steps or bytes",
    415: "Not JSON in UTF-8",
    500: "Our fault; the log of the server says more",
    503: "Too busy, too slow, or nothing to serve",
}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _listed(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": _object(**properties)}


def _json(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema, **more}}}


def errors(*statuses: int) -> Responses:
    """The errors an operation may answer with."""
    return {status: {"description": MEANINGS[status], **_json(_object(error=TEXTUAL))} for status in statuses}


def invocations_of(limits: Limits) -> dict[str, Any]:
    """What `POST /invocations` takes and gives, within these limits."""
    horizon = {"type": "integer", "minimum": 0, "maximum": limits.horizon, "default": PARAMS["horizon"]}
    rows = {"type": "array", "minItems": 1, "maxItems": limits.rows, "items": ROW}
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
                f"At most {limits.body_bytes:,} bytes, and {limits.answer_rows:,} rows of answer: those "
                "posted, and the steps ahead of each sensor named. MLflow's layouts dataframe_split, "
                "instances and inputs are understood as well."
            ),
            **_json(body, example={"dataframe_records": EXAMPLE, "params": {"horizon": 24}}),
        },
        "responses": {
            "200": {
                "description": "One object a row, in the order asked, then one a step ahead",
                "headers": {NOTE: {"description": "What was out of reach", "schema": TEXTUAL}},
                **_json(ANSWER),
            }
        },
    }


SECURED: dict[str, Any] = {"security": [{"token": []}]}
SCHEMES = {"token": {"type": "http", "scheme": "bearer"}}


LOADED = _listed(
    sensor_id=TEXTUAL,
    kind={"type": "string", "enum": [kind.value for kind in Kind]},
    model=TEXTUAL,
    version={"type": "integer"},
    since=TEXTUAL,
    trained_until=_or_null("string"),
)
MODELS: Responses = {
    200: {
        "description": "What is in memory, and which champions were refused",
        **_json(_object(models=LOADED, refused=_listed(model=TEXTUAL, why=TEXTUAL))),
    }
}
HEALTH: Responses = {
    200: {
        "description": "ok or degraded; with a token also what is out of reach, and why",
        **_json(_object(status={"type": "string", "enum": ["ok", "degraded"]})),
    }
}
READY: Responses = {
    200: {
        "description": "There are champions; warm once all of them were loaded",
        **_json(_object(status={"const": "ready"}, warm={"type": "boolean"})),
    }
}
METRICS_TEXT: Responses = {
    200: {"description": "Prometheus' text format", "content": {"text/plain": {"schema": TEXTUAL}}}
}
