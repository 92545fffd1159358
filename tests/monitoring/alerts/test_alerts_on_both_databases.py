"""Alerts on either kind of database: raised, answered, taught and told."""

import pytest

from monitoring.alerts.kinds import Judgement
from monitoring.notify.delivery import deliver
from monitoring.notify.outbox import Outbox
from monitoring.notify.sender import Refused
from monitoring.watch.operator_actions import acknowledge, judge, list_alerts
from tests.watched import Plant, moment, wander
from training.workspace import Workspace


@pytest.fixture
def plant(database_url, workspace, tmp_path, monkeypatch):
    """The watched plant on SQLite and on PostgreSQL."""
    monkeypatch.setenv("SAFEPLAN_DATABASE_URL", database_url)
    monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", "json://127.0.0.1:1/")
    made = Plant(Workspace(tmp_path), tmp_path)
    made.describe({"PT-1": {"platform": "P-48", "critical_high": 30}})
    yield made
    made.workspace.engine.dispose()


def test_an_episode_from_its_first_odd_reading_to_the_last_message(plant):
    plant.read("PT-1", 0, wander(60, seed=7))
    plant.score("PT-1", 0, [0.7] * 10 + [0.9] * 20 + [0.1] * 30)
    plant.forecast("PT-1", 0, [40.0])
    plant.watch_each(0, 60, every=5)
    warning, anomaly = list_alerts(plant.workspace, alive=None)
    acknowledge(plant.workspace, anomaly.id, by="Ana", now=moment(61))
    judge(plant.workspace, anomaly.id, Judgement.CONFIRM, by="Ana", now=moment(62))
    sent = []

    class Carrier:
        def carry(self, message, _) -> None:
            if len(sent) == 2 and message["id"] not in refused:
                refused.append(message["id"])
                raise Refused("not now")
            sent.append((message["alert_id"], message["number"]))

    refused: list[str] = []
    deliver(plant.workspace, clock=lambda: moment(63), carrier=Carrier())
    deliver(plant.workspace, clock=lambda: moment(65), carrier=Carrier())

    assert [change for change, _ in plant.told(anomaly)] == [
        *("opened", "worsened", "returned", "acknowledged", "judged")
    ]
    assert next(change for change, _ in plant.told(warning)) == "opened"
    assert plant.workspace.labels.of("PT-1")[0].end == moment(29)
    assert len(sent) == len(set(sent)) == anomaly.revision + 2 + warning.revision
    for alert in (warning, anomaly):
        assert [number for one, number in sent if one == alert.id] == sorted(
            number for one, number in sent if one == alert.id
        )
    assert Outbox(plant.workspace.engine).channels() == []
    assert Outbox(plant.workspace.engine).delete_sent_before(moment(64)) > 0
