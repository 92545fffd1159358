"""The client returns the endpoint's rows and raises its error messages."""

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


def test_a_prediction_has_every_column_of_an_answer():
    assert [field.name for field in fields(Prediction)] == list(COLUMNS_OUT)


def test_it_returns_scores_forecasts_and_steps_ahead(client):
    score, forecast, *ahead = FleetClient(str(client.base_url)).ask(
        [("PT-1", NOW, 400.0), ("TT-1", "2026-01-09T08:00:00Z", None)], horizon=3
    )

    assert (score.sensor_id, score.is_anomaly, score.error) == ("PT-1", True, None)
    assert forecast.lower <= forecast.expected <= forecast.upper
    assert len(ahead) == 6


def test_it_lists_the_serving_models(client):
    fleet = FleetClient(str(client.base_url))
    fleet.ask([("PT-1", NOW, 20.0)])

    assert [(model["sensor_id"], model["version"]) for model in fleet.models()] == [("PT-1", 1)]


def test_a_refusal_raises_the_endpoints_message(client):
    with pytest.raises(Refused, match="maximum is 1000 steps") as refused:
        FleetClient(str(client.base_url)).ask([("PT-1", NOW, 20.0)], horizon=9_999)

    assert refused.value.status == 400


def test_it_sends_its_token(service):
    with listening(create_app(service, Tokens(given=SECRET))) as url:
        assert FleetClient(url, token=SECRET).ask([("PT-1", NOW, 20.0)])[0].error is None
        with pytest.raises(Refused, match="needs a token") as refused:
            FleetClient(url).models()

    assert refused.value.status == 401


def test_an_unreachable_endpoint_raises_with_advice():
    with pytest.raises(Refused, match="Is safeplan serve running") as refused:
        FleetClient("http://127.0.0.1:9", seconds=5).models()

    assert refused.value.status is None
