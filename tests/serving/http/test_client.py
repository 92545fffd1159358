"""The small client: it says what the endpoint says, and refuses in the endpoint's words."""

from dataclasses import fields
from datetime import UTC, datetime

import pytest

from serving.contract import COLUMNS_OUT
from serving.http.app import create_app
from serving.http.client import FleetClient, Prediction, Refused
from serving.http.tokens import Tokens
from tests.serving.conftest import listening

NOW = datetime(2026, 1, 9, 8, tzinfo=UTC)
SECRET = "correct-horse-battery-staple"


def test_it_knows_every_column_of_an_answer():
    assert [field.name for field in fields(Prediction)] == list(COLUMNS_OUT)


def test_it_scores_forecasts_and_looks_ahead(client):
    score, forecast, *ahead = FleetClient(str(client.base_url)).ask(
        [("PT-1", NOW, 400.0), ("TT-1", "2026-01-09T08:00:00Z", None)], horizon=3
    )

    assert (score.sensor_id, score.is_anomaly, score.error) == ("PT-1", True, None)
    assert forecast.lower <= forecast.expected <= forecast.upper
    assert len(ahead) == 6


def test_it_lists_what_serves(client):
    fleet = FleetClient(str(client.base_url))
    fleet.ask([("PT-1", NOW, 20.0)])

    assert [(one["sensor_id"], one["version"]) for one in fleet.models()] == [("PT-1", 1)]


def test_a_refusal_is_an_error_with_the_endpoints_sentence(client):
    with pytest.raises(Refused, match="furthest is 1000 steps") as refused:
        FleetClient(str(client.base_url)).ask([("PT-1", NOW, 20.0)], horizon=9_999)

    assert refused.value.status == 400


def test_its_token_opens_the_door(service):
    with listening(create_app(service, Tokens(given=SECRET))) as url:
        assert FleetClient(url, token=SECRET).ask([("PT-1", NOW, 20.0)])[0].error is None
        with pytest.raises(Refused, match="needs a token") as refused:
            FleetClient(url).models()

    assert refused.value.status == 401


def test_an_endpoint_that_is_not_there_says_what_to_do():
    with pytest.raises(Refused, match="Is safeplan serve running") as refused:
        FleetClient("http://127.0.0.1:9", seconds=5).models()

    assert refused.value.status is None
