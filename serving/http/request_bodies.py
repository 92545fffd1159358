"""Parse JSON bodies of `POST /invocations` in MLflow's four layouts, with an error message for each mistake.

An invalid body is refused as a whole. Invalid rows stay in the request; `serving.scoring.request_rows` gives
them an `error` of their own.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Never

import pydantic_core

from serving.contract import (
    COLUMNS_IN,
    PARAMS,
    BadRequest,
    Limits,
    PredictionRequest,
    abbreviate,
    check_size,
    validate_horizon,
)

LAYOUTS = ("dataframe_records", "dataframe_split", "instances", "inputs")
COLUMN_NAMES = ", ".join(COLUMNS_IN)
EXAMPLE_BODY = (
    '{"dataframe_records": [{"sensor_id": "PT-1001", "timestamp": "2026-01-31T23:00:00Z", "value": 1.5}]}'
)


def to_json(content: Any) -> bytes:
    """Content as JSON; numbers that are not finite become null."""
    return pydantic_core.to_json(content, inf_nan_mode="null")


def check_content_type(header: str | None) -> None:
    """Refuse a body that is not declared as JSON in UTF-8.

    Raises:
        BadRequest: with status 415.
    """
    if not header:
        raise BadRequest("The request has no Content-Type. Send: Content-Type: application/json", 415)
    kind, _, parameters = header.partition(";")
    if kind.strip().lower() != "application/json":
        raise BadRequest(f"The Content-Type is {abbreviate(header)}; only application/json is accepted.", 415)
    for parameter in filter(None, map(str.strip, parameters.split(";"))):
        name, _, value = parameter.partition("=")
        if name.strip().lower() != "charset" or value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            raise BadRequest(
                f"The Content-Type has {abbreviate(parameter)}; only charset=utf-8 is accepted.", 415
            )


def parse_body(body: bytes, limits: Limits) -> PredictionRequest:
    """The request in a JSON body.

    Raises:
        BadRequest: it is not JSON or has another layout; with status 413 where a limit is exceeded.
    """
    content = _parse_json(body)
    if not isinstance(content, dict):
        raise BadRequest(f"The body is a JSON {_json_type(content)}, not an object. Send: {EXAMPLE_BODY}")
    if unknown := [key for key in content if key not in (*LAYOUTS, "params")]:
        raise BadRequest(
            f"The body has the unknown key {abbreviate(unknown[0])}; expected params and one of "
            f"{', '.join(LAYOUTS)}."
        )
    layouts = [key for key in content if key in LAYOUTS]
    if len(layouts) != 1:
        description = f"{len(layouts)} of them: {', '.join(layouts)}" if layouts else "none of them"
        raise BadRequest(f"The body needs exactly one of {', '.join(LAYOUTS)}; it has {description}.")
    columns = _parse_layout(layouts[0], content[layouts[0]])
    horizon = _parse_horizon(content.get("params", {}), limits)
    request = PredictionRequest(columns["sensor_id"], columns["timestamp"], columns["value"], horizon)
    check_size(request, limits)
    return request


def _parse_json(body: bytes) -> Any:
    if not body.strip():
        raise BadRequest(f"The body is empty. Send: {EXAMPLE_BODY}")
    try:
        return pydantic_core.from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        message = str(error).removeprefix("Input should be ")
        raise BadRequest(
            f"The body is not valid JSON: {message}. Write null for a missing value: JSON has no NaN."
        ) from error


def _parse_layout(layout: str, content: Any) -> dict[str, Sequence[Any]]:
    if layout == "dataframe_split":
        return _parse_split(content)
    if layout == "inputs" and isinstance(content, dict):
        return _parse_inputs(content)
    return _parse_records(layout, content)


def _parse_records(layout: str, rows: Any) -> dict[str, Sequence[Any]]:
    if not isinstance(rows, list):
        raise BadRequest(
            f"{layout} is a JSON {_json_type(rows)}; it must be a list of rows. Send: {EXAMPLE_BODY}"
        )
    if not rows:
        raise BadRequest(f"{layout} has no rows. Send at least one.")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise BadRequest(
                f"Row {number} is a JSON {_json_type(row)}; a row is an object with {COLUMN_NAMES}."
            )
        if not row.keys() <= COLUMNS_IN.keys():
            _refuse_columns(row, f"Row {number} has")
    for name in ("sensor_id", "timestamp"):
        if not any(name in row for row in rows):
            _refuse_missing(name)
    return {name: [row.get(name) for row in rows] for name in COLUMNS_IN}


def _parse_split(content: Any) -> dict[str, Sequence[Any]]:
    if not isinstance(content, dict) or not {"columns", "data"} <= content.keys() <= {
        "columns",
        "data",
        "index",
    }:
        raise BadRequest(
            'dataframe_split must be an object with "columns" and "data", and optionally "index".'
        )
    names, rows = content["columns"], content["data"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadRequest(f"dataframe_split.columns must be a list of names: {COLUMN_NAMES}.")
    if len(set(names)) < len(names):
        raise BadRequest("dataframe_split.columns contains a column twice.")
    _refuse_columns(dict.fromkeys(names), "dataframe_split.columns has")
    for name in ("sensor_id", "timestamp"):
        if name not in names:
            _refuse_missing(name)
    if not isinstance(rows, list) or not rows:
        raise BadRequest("dataframe_split.data must be a list of at least one row.")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            description = f"{len(row)} entries" if isinstance(row, list) else f"a JSON {_json_type(row)}"
            raise BadRequest(
                f"Row {number} of dataframe_split.data is {description}; there are {len(names)} columns."
            )
    by_name = dict(zip(names, zip(*rows, strict=True), strict=True))
    return {name: by_name.get(name, (None,) * len(rows)) for name in COLUMNS_IN}


def _parse_inputs(content: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    _refuse_columns(content, "inputs has")
    for name in ("sensor_id", "timestamp"):
        if name not in content:
            _refuse_missing(name)
    for name, column in content.items():
        if not isinstance(column, list) or not column:
            raise BadRequest(
                f"inputs.{name} is a JSON {_json_type(column)}; a column is a list with one entry per row."
            )
    lengths = {name: len(column) for name, column in content.items()}
    if len(set(lengths.values())) > 1:
        described = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise BadRequest(f"The columns of inputs differ in length: {described}.")
    rows = len(content["sensor_id"])
    return {name: content.get(name, [None] * rows) for name in COLUMNS_IN}


def _parse_horizon(params: Any, limits: Limits) -> int:
    if not isinstance(params, dict):
        raise BadRequest(
            f'params is a JSON {_json_type(params)}; expected an object such as {{"horizon": 24}}.'
        )
    if unknown := [name for name in params if name not in PARAMS]:
        raise BadRequest(
            f"There is no parameter {abbreviate(unknown[0])}; the parameters are: {', '.join(PARAMS)}."
        )
    return validate_horizon(params.get("horizon", PARAMS["horizon"]), limits)


def _refuse_columns(row: Mapping[str, Any], subject: str) -> None:
    if unknown := [name for name in row if name not in COLUMNS_IN]:
        raise BadRequest(
            f"{subject} the unknown column {abbreviate(unknown[0])}; the columns are {COLUMN_NAMES}."
        )


def _refuse_missing(name: str) -> Never:
    raise BadRequest(f"The column {name} is missing; the columns are {COLUMN_NAMES}.")


def _json_type(value: Any) -> str:
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return kinds.get(type(value), "null")
