"""JSON bodies of `POST /invocations` as requests, with a sentence for each way to get one wrong.

Knows JSON, both ways, and the four layouts of rows that MLflow knows. A body that cannot be meant is refused
whole; a row that cannot be answered is left in, and gets its own `error` later.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Never

import pydantic_core

from serving.contract import COLUMNS_IN, PARAMS, Ask, BadRequest, Limits, check_size, horizon_of, shown

LAYOUTS = ("dataframe_records", "dataframe_split", "instances", "inputs")
KNOWN = ", ".join(COLUMNS_IN)
EXPECTED = (
    '{"dataframe_records": [{"sensor_id": "PT-1001", "timestamp": "2026-01-31T23:00:00Z", "value": 1.5}]}'
)


def as_json(content: Any) -> bytes:
    """JSON as it is answered: numbers that are not finite are null."""
    return pydantic_core.to_json(content, inf_nan_mode="null")


def check_content_type(header: str | None) -> None:
    """Refuse bodies that do not say that they are JSON.

    Raises:
        BadRequest: with status 415.
    """
    if not header:
        raise BadRequest("The request has no Content-Type. Send: Content-Type: application/json", 415)
    kind, _, parameters = header.partition(";")
    if kind.strip().lower() != "application/json":
        raise BadRequest(f"The Content-Type is {shown(header)}; only application/json is read.", 415)
    for parameter in filter(None, map(str.strip, parameters.split(";"))):
        name, _, value = parameter.partition("=")
        if name.strip().lower() != "charset" or value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            raise BadRequest(f"The Content-Type says {shown(parameter)}; only charset=utf-8 is read.", 415)


def read_body(body: bytes, limits: Limits) -> Ask:
    """What a JSON body asks for.

    Raises:
        BadRequest: it is no JSON, or not laid out as rows of ours; 413 where it asks for too much.
    """
    content = _parsed(body)
    if not isinstance(content, dict):
        raise BadRequest(f"The body is a JSON {_kind(content)}, not an object. Send: {EXPECTED}")
    if unknown := [key for key in content if key not in (*LAYOUTS, "params")]:
        raise BadRequest(
            f"The body has the unknown key {shown(unknown[0])}; it may have params and one of "
            f"{', '.join(LAYOUTS)}."
        )
    layouts = [key for key in content if key in LAYOUTS]
    if len(layouts) != 1:
        found = f"{len(layouts)} of them: {', '.join(layouts)}" if layouts else "none of them"
        raise BadRequest(f"The body needs exactly one of {', '.join(LAYOUTS)}; it has {found}.")
    columns = _columns(layouts[0], content[layouts[0]])
    horizon = _horizon(content.get("params", {}), limits)
    ask = Ask(columns["sensor_id"], columns["timestamp"], columns["value"], horizon)
    check_size(ask, limits)
    return ask


def _parsed(body: bytes) -> Any:
    if not body.strip():
        raise BadRequest(f"The body is empty. Send: {EXPECTED}")
    try:
        return pydantic_core.from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        words = str(error).removeprefix("Input should be ")
        raise BadRequest(
            f"The body is no JSON: {words}. Where there is no value, write null: JSON knows no NaN."
        ) from error


def _columns(layout: str, content: Any) -> dict[str, Sequence[Any]]:
    if layout == "dataframe_split":
        return _of_split(content)
    if layout == "inputs" and isinstance(content, dict):
        return _of_columns(content)
    return _of_records(layout, content)


def _of_records(layout: str, rows: Any) -> dict[str, Sequence[Any]]:
    if not isinstance(rows, list):
        raise BadRequest(f"{layout} is a JSON {_kind(rows)}; it must be a list of rows. Send: {EXPECTED}")
    if not rows:
        raise BadRequest(f"{layout} has no rows. Send at least one.")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise BadRequest(f"Row {number} is a JSON {_kind(row)}; a row is an object with {KNOWN}.")
        if not row.keys() <= COLUMNS_IN.keys():
            _refuse_columns(row, f"Row {number} has")
    for name in ("sensor_id", "timestamp"):
        if not any(name in row for row in rows):
            _refuse_missing(name)
    return {name: [row.get(name) for row in rows] for name in COLUMNS_IN}


def _of_split(content: Any) -> dict[str, Sequence[Any]]:
    if not isinstance(content, dict) or not {"columns", "data"} <= content.keys() <= {
        "columns",
        "data",
        "index",
    }:
        raise BadRequest('dataframe_split must be an object with "columns" and "data", and perhaps "index".')
    names, rows = content["columns"], content["data"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadRequest(f"dataframe_split.columns must be a list of names: {KNOWN}.")
    if len(set(names)) < len(names):
        raise BadRequest("dataframe_split.columns names a column twice.")
    _refuse_columns(dict.fromkeys(names), "dataframe_split.columns has")
    for name in ("sensor_id", "timestamp"):
        if name not in names:
            _refuse_missing(name)
    if not isinstance(rows, list) or not rows:
        raise BadRequest("dataframe_split.data must be a list of at least one row.")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            found = f"{len(row)} entries" if isinstance(row, list) else f"a JSON {_kind(row)}"
            raise BadRequest(
                f"Row {number} of dataframe_split.data is {found}; {len(names)} columns are named."
            )
    by_name = dict(zip(names, zip(*rows, strict=True), strict=True))
    return {name: by_name.get(name, (None,) * len(rows)) for name in COLUMNS_IN}


def _of_columns(content: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    _refuse_columns(content, "inputs has")
    for name in ("sensor_id", "timestamp"):
        if name not in content:
            _refuse_missing(name)
    for name, column in content.items():
        if not isinstance(column, list) or not column:
            raise BadRequest(
                f"inputs.{name} is a JSON {_kind(column)}; a column is a list with an entry a row."
            )
    lengths = {name: len(column) for name, column in content.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise BadRequest(f"The columns of inputs differ in length: {told}.")
    rows = len(content["sensor_id"])
    return {name: content.get(name, [None] * rows) for name in COLUMNS_IN}


def _horizon(params: Any, limits: Limits) -> int:
    if not isinstance(params, dict):
        raise BadRequest(f'params is a JSON {_kind(params)}; it is an object such as {{"horizon": 24}}.')
    if unknown := [name for name in params if name not in PARAMS]:
        raise BadRequest(f"There is no parameter {shown(unknown[0])}; known are: {', '.join(PARAMS)}.")
    return horizon_of(params.get("horizon", PARAMS["horizon"]), limits)


def _refuse_columns(row: Mapping[str, Any], whose: str) -> None:
    if unknown := [name for name in row if name not in COLUMNS_IN]:
        raise BadRequest(f"{whose} the unknown column {shown(unknown[0])}; the columns are {KNOWN}.")


def _refuse_missing(name: str) -> Never:
    raise BadRequest(f"The column {name} is missing; the columns are {KNOWN}.")


def _kind(value: Any) -> str:
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return kinds.get(type(value), "null")
