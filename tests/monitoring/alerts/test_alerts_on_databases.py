"""Alerts on SQLite and PostgreSQL: raised, acknowledged, judged, labelled and notified."""

import pytest

from monitoring.alerts.kinds import AlertVerdict
from monitoring.notify.delivery import deliver
from monitoring.notify.outbox import Outbox
from monitoring.notify.sender import DeliveryRefused
from monitoring.watch.operator_actions import acknowledge, find_alert, list_alerts, set_verdict
from tests.support.monitored_fleet import MonitoredFleet, minutes_after_noon, noisy_values
from training.reasons import ReasonCode
from training.workspace import Workspace


@pytest.fixture
def sql_fleet(database_url, workspace, tmp_path, monkeypatch):
    """The monitored fleet on SQLite and on PostgreSQL."""
    monkeypatch.setenv("SAFEPLAN_DATABASE_URL", database_url)
    monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", "json://127.0.0.1:1/")
    fleet = MonitoredFleet(Workspace(tmp_path), tmp_path)
    fleet.describe({"PT-1": {"platform": "P-48", "critical_high": 30}})
    yield fleet
    fleet.workspace.engine.dispose()


def test_an_episode_from_its_first_anomalous_reading_to_the_last_message(sql_fleet):
    sql_fleet.read("PT-1", 0, noisy_values(60, seed=7))
    sql_fleet.score("PT-1", 0, [0.7] * 10 + [0.9] * 20 + [0.1] * 30)
    sql_fleet.forecast("PT-1", 0, [40.0])
    sql_fleet.watch_each(0, 60, every=5)
    warning, anomaly = list_alerts(sql_fleet.workspace, alive=None)
    acknowledge(sql_fleet.workspace, anomaly.id, by="Ana", now=minutes_after_noon(61))
    set_verdict(sql_fleet.workspace, anomaly.id, AlertVerdict.CONFIRM, by="Ana", now=minutes_after_noon(62))
    sent = []

    class RecordingSender:
        def send(self, message, _) -> None:
            if len(sent) == 2 and message["id"] not in refused:
                refused.append(message["id"])
                raise DeliveryRefused("not now")
            sent.append((message["alert_id"], message["number"]))

    refused: list[str] = []
    deliver(sql_fleet.workspace, clock=lambda: minutes_after_noon(63), sender=RecordingSender())
    deliver(sql_fleet.workspace, clock=lambda: minutes_after_noon(65), sender=RecordingSender())

    assert [change for change, _ in sql_fleet.alert_history(anomaly)] == [
        *("opened", "worsened", "returned", "acknowledged", "judged")
    ]
    assert find_alert(sql_fleet.workspace, warning.id).evidence == warning.evidence
    assert warning.evidence.reasons[0].code is ReasonCode.LIMIT_UPPER_EXPECTED
    assert next(change for change, _ in sql_fleet.alert_history(warning)) == "opened"
    assert sql_fleet.workspace.labels.of("PT-1")[0].end == minutes_after_noon(29)
    assert len(sent) == len(set(sent)) == anomaly.revision + 2 + warning.revision
    for alert in (warning, anomaly):
        assert [number for alert_id, number in sent if alert_id == alert.id] == sorted(
            number for alert_id, number in sent if alert_id == alert.id
        )
    assert Outbox(sql_fleet.workspace.engine).channels() == []
    assert Outbox(sql_fleet.workspace.engine).delete_sent_before(minutes_after_noon(64)) > 0
