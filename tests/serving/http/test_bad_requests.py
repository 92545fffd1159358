"""Every invalid request: its status and its message, and never a 500."""

import json

import pytest

JSON = {"Content-Type": "application/json"}
GOOD = {"sensor_id": "PT-1", "timestamp": "2026-01-09T08:00:00Z", "value": 20.0}
STAMP = GOOD["timestamp"]


def records(*rows, **more):
    return json.dumps({"dataframe_records": list(rows)} | more)


def row(**changes):
    return records(GOOD | changes)


def split(columns, data):
    return json.dumps({"dataframe_split": {"columns": columns, "data": data}})


IN, OUT = list(GOOD), [list(GOOD.values())]

# Name, headers, body, status, and a part of the message.
REFUSED = [
    ("no content type", {}, records(GOOD), 415, "no Content-Type"),
    ("csv", {"Content-Type": "text/csv"}, "sensor_id\nPT-1", 415, "only application/json"),
    ("form", {"Content-Type": "application/x-www-form-urlencoded"}, "a=1", 415, "only application/json"),
    ("plain text", {"Content-Type": "text/plain"}, records(GOOD), 415, "'text/plain'"),
    ("parquet", {"Content-Type": "application/vnd.apache.parquet"}, b"PAR1", 415, "only application/json"),
    ("latin-1", {"Content-Type": "application/json; charset=latin-1"}, records(GOOD), 415, "charset=utf-8"),
    (
        "type with a version",
        {"Content-Type": "application/json; version=2"},
        records(GOOD),
        415,
        "version=2",
    ),
    ("empty", JSON, "", 400, "body is empty"),
    ("blank", JSON, "  \n", 400, "body is empty"),
    ("cut short", JSON, records(GOOD)[:-9], 400, "not valid JSON"),
    ("single quotes", JSON, "{'dataframe_records': []}", 400, "not valid JSON"),
    ("trailing comma", JSON, '{"dataframe_records": [],}', 400, "not valid JSON"),
    ("two documents", JSON, records(GOOD) * 2, 400, "not valid JSON"),
    ("NaN", JSON, records(GOOD).replace("20.0", "NaN"), 400, "JSON has no NaN"),
    ("Infinity", JSON, records(GOOD).replace("20.0", "-Infinity"), 400, "JSON has no NaN"),
    ("bytes that are no text", JSON, b'{"dataframe_records": "\xff\xfe"}', 400, "not valid JSON"),
    ("bytes of UTF-16", JSON, records(GOOD).encode("utf-16"), 400, "not valid JSON"),
    ("deeply nested", JSON, "[" * 100_000, 400, "not valid JSON"),
    ("a list", JSON, json.dumps([GOOD]), 400, "JSON array, not an object"),
    ("a text", JSON, '"rows"', 400, "JSON string, not an object"),
    ("a number", JSON, "1", 400, "JSON number, not an object"),
    ("null", JSON, "null", 400, "JSON null, not an object"),
    ("nothing in it", JSON, "{}", 400, "it has none of them"),
    ("only params", JSON, '{"params": {"horizon": 3}}', 400, "it has none of them"),
    ("two layouts", JSON, records(GOOD, instances=[GOOD]), 400, "2 of them"),
    ("unknown key", JSON, records(GOOD, explain=True), 400, "unknown key 'explain'"),
    ("misspelt layout", JSON, json.dumps({"dataframe_record": [GOOD]}), 400, "'dataframe_record'"),
    ("records are an object", JSON, json.dumps({"dataframe_records": GOOD}), 400, "must be a list of rows"),
    ("records are null", JSON, json.dumps({"dataframe_records": None}), 400, "JSON null"),
    ("no rows", JSON, records(), 400, "has no rows"),
    ("a row is a list", JSON, records(GOOD, list(GOOD.values())), 400, "Row 1 is a JSON array"),
    ("a row is null", JSON, records(GOOD, None), 400, "Row 1 is a JSON null"),
    ("a row is a text", JSON, records("PT-1"), 400, "Row 0 is a JSON string"),
    ("unknown column", JSON, row(quality=0), 400, "unknown column 'quality'"),
    ("column in capitals", JSON, row(Value=1), 400, "unknown column 'Value'"),
    ("no row has a sensor", JSON, records({"timestamp": STAMP, "value": 1}), 400, "sensor_id is missing"),
    ("no row has a time", JSON, records({"sensor_id": "PT-1", "value": 1}), 400, "timestamp is missing"),
    ("params is a list", JSON, records(GOOD, params=[24]), 400, "params is a JSON array"),
    ("params is null", JSON, records(GOOD, params=None), 400, "params is a JSON null"),
    ("unknown parameter", JSON, records(GOOD, params={"threshold": 0.4}), 400, "no parameter 'threshold'"),
    ("horizon as text", JSON, records(GOOD, params={"horizon": "24"}), 400, "whole number"),
    ("horizon is a fraction", JSON, records(GOOD, params={"horizon": 1.5}), 400, "whole number"),
    ("horizon is true", JSON, records(GOOD, params={"horizon": True}), 400, "whole number"),
    ("horizon is null", JSON, records(GOOD, params={"horizon": None}), 400, "whole number"),
    ("horizon below zero", JSON, records(GOOD, params={"horizon": -1}), 400, "the minimum is 0"),
    ("horizon too far", JSON, records(GOOD, params={"horizon": 1001}), 400, "maximum is 1000"),
    ("horizon beyond numbers", JSON, records(GOOD, params={"horizon": 10**30}), 400, "maximum is 1000"),
    ("split is a list", JSON, json.dumps({"dataframe_split": [GOOD]}), 400, '"columns" and "data"'),
    (
        "split without data",
        JSON,
        json.dumps({"dataframe_split": {"columns": IN}}),
        400,
        '"columns" and "data"',
    ),
    ("split names no texts", JSON, split([1, 2, 3], OUT), 400, "list of names"),
    ("split names one twice", JSON, split(["sensor_id", "sensor_id", "timestamp"], OUT), 400, "twice"),
    ("split with another column", JSON, split([*IN, "unit"], [[*OUT[0], "bar"]]), 400, "column 'unit'"),
    ("split without times", JSON, split(["sensor_id"], [["PT-1"]]), 400, "timestamp is missing"),
    ("split without rows", JSON, split(IN, []), 400, "at least one row"),
    ("split with a short row", JSON, split(IN, [["PT-1", STAMP]]), 400, "2 entries; there are 3 columns"),
    ("split with a row of another kind", JSON, split(IN, [GOOD]), 400, "JSON object; there are 3 columns"),
    ("inputs is a number", JSON, json.dumps({"inputs": 3}), 400, "must be a list of rows"),
    (
        "inputs in columns of two lengths",
        JSON,
        json.dumps({"inputs": {"sensor_id": ["a"], "timestamp": ["b", "c"]}}),
        400,
        "differ in length",
    ),
    (
        "inputs with a column that is no list",
        JSON,
        json.dumps({"inputs": {"sensor_id": "a", "timestamp": "b"}}),
        400,
        "a column is a list",
    ),
    ("too many rows", JSON, records(*[GOOD] * 10_001), 413, "10,001 rows"),
    (
        "too many steps",
        JSON,
        records(*[GOOD | {"sensor_id": f"PT-{n}"} for n in range(101)], params={"horizon": 1000}),
        413,
        "101,101 rows",
    ),
    ("too many bytes", JSON, b" " * (8 * 2**20 + 1), 413, "8,388,608 bytes"),
]

# Invalid rows: the changed values, and a part of the row's error.
WRONG_ROWS = [
    ({"sensor_id": None}, "sensor_id is missing"),
    ({"sensor_id": 1001}, "1001 is not a string"),
    ({"sensor_id": ""}, "is invalid"),
    ({"sensor_id": " PT-1"}, "without leading or trailing spaces"),
    ({"sensor_id": "PT\n1"}, "printable"),
    ({"sensor_id": "x" * 201}, "1 to 200"),
    ({"sensor_id": ["PT-1"]}, "is not a string"),
    ({"sensor_id": "'; DROP TABLE sensors; --"}, "no detector champion"),
    ({"sensor_id": "../../etc/passwd"}, "no detector champion"),
    ({"sensor_id": "\U0001f525"}, "no detector champion"),
    ({"timestamp": None}, "timestamp is missing"),
    ({"timestamp": ""}, "timestamp '' is invalid"),
    ({"timestamp": "yesterday"}, "timestamp 'yesterday' is invalid"),
    ({"timestamp": "2026-02-30T00:00:00Z"}, "is invalid"),
    ({"timestamp": "03/04/2026 10:00"}, "is invalid"),
    ({"timestamp": 1767945600}, "is not a string"),
    ({"timestamp": {"$date": 1}}, "is not a string"),
    ({"timestamp": "1066-10-14T09:00:00Z"}, "before 1971"),
    ({"value": "20.0"}, "is not a number"),
    ({"value": "Bad Input"}, "is not a number"),
    ({"value": True}, "is not a number"),
    ({"value": [20.0]}, "is not a number"),
    ({"value": 1e300}, "out of range: expected at most"),
    ({"value": 10**400}, "out of range: expected at most"),
    ({"value": -9999}, "marks a missing value"),
]


@pytest.mark.parametrize(
    ("headers", "body", "status", "piece"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_an_invalid_request_is_refused_with_a_message(shared_client, headers, body, status, piece):
    answer = shared_client.post("/invocations", content=body, headers=headers)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert piece in answer.json()["error"]
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    ("changes", "piece"), WRONG_ROWS, ids=[json.dumps(case[0])[:40] for case in WRONG_ROWS]
)
def test_an_invalid_row_gets_an_error_and_the_others_are_answered(shared_client, changes, piece):
    answer = shared_client.post("/invocations", content=records(GOOD, GOOD | changes, GOOD), headers=JSON)

    assert answer.status_code == 200, answer.text
    before, wrong, after = answer.json()["predictions"]
    assert piece in wrong["error"]
    assert wrong["anomaly_score"] is None
    assert before["error"] is after["error"] is None


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": [GOOD]},
        {"instances": [GOOD]},
        {"inputs": [GOOD]},
        {"inputs": {name: [value] for name, value in GOOD.items()}},
        {"dataframe_split": {"columns": IN, "data": OUT}},
        {"dataframe_split": {"index": [0], "columns": IN[::-1], "data": [OUT[0][::-1]]}},
    ],
    ids=["records", "instances", "inputs", "inputs in columns", "split", "split with index"],
)
def test_every_layout_of_mlflow_is_accepted(shared_client, body):
    answer = shared_client.post("/invocations", json=body)

    assert [row["value"] for row in answer.json()["predictions"]] == [20.0]


@pytest.mark.parametrize(
    ("method", "path", "status", "piece"),
    [
        ("GET", "/invocations", 405, "does not accept GET"),
        ("DELETE", "/models", 405, "does not accept DELETE"),
        ("GET", "/", 404, "/invocations"),
        ("POST", "/predict", 404, "There is no path /predict"),
        ("GET", "/models/../../etc/passwd", 404, "There is no"),
    ],
)
def test_an_unknown_path_or_method_gets_an_error_with_advice(shared_client, method, path, status, piece):
    answer = shared_client.request(method, path)

    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert piece in answer.json()["error"]


HARMFUL = [
    "'; DROP TABLE sensor_readings; --",
    '" OR 1=1',
    "../../../etc/passwd",
    "models:/safeplan-fleet/1",
    "PT-1\r\nSet-Cookie: a=b",
    "PT-1\n2026-01-01 CRITICAL all is well",
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "${jndi:ldap://127.0.0.1/a}",
    "%s%n{0.__class__}",
]


@pytest.mark.attack(
    "SQL, paths, headers, log lines, formulas and scripts as a sensor's id", "an unknown sensor, as any other"
)
@pytest.mark.parametrize("name", HARMFUL)
def test_a_harmful_id_is_treated_as_an_unknown_sensor(shared_client, caplog, name):
    caplog.set_level("DEBUG")

    answer = shared_client.post(
        "/invocations", content=records(GOOD | {"sensor_id": name}, GOOD), headers=JSON
    )

    harmful, good = answer.json()["predictions"]
    assert "no detector champion" in harmful["error"] or "printable" in harmful["error"]
    assert good["error"] is None
    assert "set-cookie" not in answer.headers
    assert not [
        record for record in caplog.records if "\n" in record.getMessage() and name in record.getMessage()
    ]
