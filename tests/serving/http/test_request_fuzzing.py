"""Any request gets an answer row per request row, or one error message; never a 500 or a hanging server.

`SAFEPLAN_FUZZ_EXAMPLES` sets the number of requests that each test generates; thousands before a release.
"""

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.http.test_bad_requests import GOOD, JSON, STAMP

pytestmark = pytest.mark.attack(
    "any bytes, JSON, values and headers posted to the endpoint",
    "an answer a row or one sentence, never a 500",
)

EXAMPLES = int(os.environ.get("SAFEPLAN_FUZZ_EXAMPLES", "150"))
law = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(["PT-1", "TT-1", STAMP, "2026-01-09T08:00:00+02:00", -9999, 20.0, "20,0"]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("sensor_id", "timestamp", "value", "unknown"), ANYTHING)
    ),
    max_size=6,
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "dataframe_records": ROWS | ANYTHING,
        "dataframe_split": st.fixed_dictionaries({"columns": ANYTHING, "data": ANYTHING}) | ANYTHING,
        "instances": ROWS | ANYTHING,
        "inputs": ROWS | ANYTHING,
        "params": st.fixed_dictionaries({}, optional={"horizon": ANYTHING, "unknown": ANYTHING}) | ANYTHING,
    },
)


def assert_valid(answer) -> None:
    """Check an answer, whatever the request was."""
    assert answer.status_code in {200, 400, 413, 415}, answer.text
    reported = answer.json()
    if answer.status_code == 200:
        assert reported["predictions"]
        assert all(
            row["error"] or row["detector_version"] or row["forecaster_version"]
            for row in reported["predictions"]
        )
    else:
        assert list(reported) == ["error"]
        assert len(reported["error"]) > 10


@law
@given(body=st.binary(max_size=300))
def test_any_bytes(shared_client, body):
    assert_valid(shared_client.post("/invocations", content=body, headers=JSON))


@law
@given(body=BODIES)
def test_any_json_with_the_keys_of_a_request(shared_client, body):
    assert_valid(shared_client.post("/invocations", content=json.dumps(body), headers=JSON))


@law
@given(rows=st.lists(st.fixed_dictionaries(dict.fromkeys(GOOD, SCALARS)), min_size=1, max_size=8))
def test_rows_of_any_values_have_an_answer_each(shared_client, rows):
    body = json.dumps({"dataframe_records": rows})

    answer = shared_client.post("/invocations", content=body, headers=JSON)

    assert_valid(answer)
    if answer.status_code == 200:
        assert len(answer.json()["predictions"]) == len(rows)


@law
@given(
    place=st.integers(0, 200),
    byte=st.integers(0, 255),
    header=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40),
)
def test_a_valid_request_with_an_altered_byte_or_header(shared_client, place, byte, header):
    good = json.dumps({"dataframe_records": [GOOD, GOOD]}).encode()
    place %= len(good)

    answer = shared_client.post(
        "/invocations",
        content=good[:place] + bytes([byte]) + good[place + 1 :],
        headers={**JSON, "X-Forwarded-For": header, "X-Request-Id": header},
    )

    assert_valid(answer)
