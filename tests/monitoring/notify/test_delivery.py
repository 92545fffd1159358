"""Delivery to a real receiver that fails, stalls and answers 500: each change arrives once, in order."""

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from monitoring.alerts.alert import Alert, AlertEvent, AlertEvidence, AlertTopic
from monitoring.alerts.kinds import AlertChange, AlertState, AlertType, AlertVerdict, Severity
from monitoring.i18n.translation import Translator
from monitoring.notify.delivery import deliver
from monitoring.notify.message import compose_message
from monitoring.notify.message_settings import MessageSettings
from monitoring.notify.outbox import Outbox
from monitoring.notify.sender import DeliveryRefused
from monitoring.watch.operator_actions import acknowledge
from tests.support.message_receiver import SECRET, MessageReceiver, Reply
from tests.support.monitored_fleet import minutes_after_noon, noisy_values
from training.anomaly.normal_band import NormalBand
from training.data.sensors import Sensor
from training.errors import ConfigurationError
from training.storage.leases import lease


class DeliveryClock:
    """A clock that tests set, in minutes after noon."""

    def __init__(self, minutes: float = 60) -> None:
        self.minutes = minutes

    def __call__(self):
        return minutes_after_noon(self.minutes)


@pytest.fixture
def alerting_fleet(monitored_fleet, monkeypatch):
    """Three alerts with nine changes; the channel `room` is notified of all."""
    monkeypatch.setenv("SAFEPLAN_DELIVERY_PATIENCE", "0.3")
    monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", "json://127.0.0.1:1/")
    for name in ("PT-1", "PT-2", "TT-1"):
        monitored_fleet.read(name, 0, noisy_values(60, seed=7))
    monitored_fleet.score("PT-1", 0, [0.7] * 10 + [0.9] * 10 + [0.1] * 20 + [0.7] * 20)
    monitored_fleet.score("PT-2", 0, [0.1] * 20 + [0.7] * 20 + [0.1] * 20)
    monitored_fleet.score("TT-1", 0, [0.1] * 20 + [0.7] * 20 + [0.1] * 20)
    monitored_fleet.watch(60)
    acknowledge(
        monitored_fleet.workspace, monitored_fleet.alerts("PT-2")[0].id, by="Ana", now=minutes_after_noon(60)
    )
    return monitored_fleet


def changes_of(fleet) -> dict[int, list[str]]:
    """The changes by alert, in order."""
    return {alert.id: [change for change, _ in fleet.alert_history(alert)] for alert in fleet.alerts()}


@contextmanager
def room(monkeypatch, *replies: Reply) -> Iterator[MessageReceiver]:
    """A receiver for the channel `room`: the given replies first, then it accepts everything."""
    with MessageReceiver(itertools.chain(replies, itertools.repeat(Reply.ACCEPT))) as receiver:
        monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", receiver.address)
        yield receiver


def test_a_failing_receiver_gets_each_change_once_and_in_order(alerting_fleet, monkeypatch):
    replies = itertools.cycle([Reply.DISCONNECT, Reply.STALL, Reply.ERROR_500, Reply.ACCEPT])
    clock = DeliveryClock()
    with MessageReceiver(replies) as receiver:
        monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", receiver.address)
        rounds = 0
        while Outbox(alerting_fleet.workspace.engine).channels():
            deliver(alerting_fleet.workspace, clock=clock)
            clock.minutes += 16
            rounds += 1
            assert rounds < 100

    assert receiver.accepted_changes() == changes_of(alerting_fleet)
    assert sum(map(len, changes_of(alerting_fleet).values())) == 9
    assert len(receiver.received_ids) > 2 * len(receiver.accepted)
    assert len({message["id"] for message in receiver.accepted}) == len(receiver.accepted)


def test_a_retried_message_has_the_same_id(alerting_fleet, monkeypatch):
    clock = DeliveryClock()
    with room(monkeypatch, Reply.ERROR_500, Reply.ERROR_500, Reply.ERROR_500) as receiver:
        deliver(alerting_fleet.workspace, clock=clock)
        clock.minutes += 1
        deliver(alerting_fleet.workspace, clock=clock)

    assert set(receiver.received_ids[:3]) <= set(receiver.received_ids[3:])
    assert len(set(receiver.received_ids)) == 9


def test_a_delivered_message_is_not_sent_again(alerting_fleet, monkeypatch):
    clock = DeliveryClock()
    with room(monkeypatch) as receiver:
        first = deliver(alerting_fleet.workspace, clock=clock)
        again = deliver(alerting_fleet.workspace, clock=clock)

    assert [(d.channel, d.sent, d.failed) for d in first] == [("room", 9, 0)]
    assert again == []
    assert len(receiver.accepted) == 9


def test_a_refused_message_delays_only_those_of_its_alert(alerting_fleet, monkeypatch):
    clock = DeliveryClock()
    with room(monkeypatch, Reply.ERROR_500) as receiver:
        deliver(alerting_fleet.workspace, clock=clock)

    first = alerting_fleet.alerts()[0].id
    assert first not in receiver.accepted_changes()
    assert set(receiver.accepted_changes()) == set(changes_of(alerting_fleet)) - {first}


def test_a_channel_that_is_down_delays_only_itself(alerting_fleet, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_CHANNEL_NIGHT", "json://127.0.0.1:1/")
    alerting_fleet.read("TT-1", 60, noisy_values(30, seed=9))
    alerting_fleet.score("TT-1", 60, [0.9] * 30)
    alerting_fleet.watch(90)
    with room(monkeypatch) as receiver:
        result = {d.channel: d for d in deliver(alerting_fleet.workspace, clock=DeliveryClock(90))}

    assert result["night"].sent == 0
    assert result["night"].error == "the channel could not be reached"
    assert result["room"].failed == 0
    assert receiver.accepted_changes() == changes_of(alerting_fleet)


def test_a_channel_that_is_down_gets_three_attempts_a_round_with_growing_delays(alerting_fleet, monkeypatch):
    clock, attempts = DeliveryClock(), []

    class UnreachableSender:
        def send(self, message, _) -> None:
            attempts.append((clock.minutes, message["id"]))
            raise DeliveryRefused("unreachable")

    for minutes in (60, 60.1, 60.2, 61, 62):
        clock.minutes = minutes
        deliver(alerting_fleet.workspace, clock=clock, sender=UnreachableSender())

    assert [minutes for minutes, _ in attempts] == [60] * 3 + [60.2] * 3 + [61] * 3 + [62] * 3
    assert len({message_id for _, message_id in attempts}) == 3


def test_a_message_that_is_not_accepted_for_days_is_given_up_and_logged(alerting_fleet, caplog):
    result = deliver(alerting_fleet.workspace, clock=DeliveryClock(60 + 3 * 24 * 60 + 1))

    (queue,) = Outbox(alerting_fleet.workspace.engine).queues()
    assert result == []
    assert (queue.channel, queue.waiting, queue.given_up) == ("room", 0, 9)
    assert "gave up 9 messages" in caplog.text


def test_only_one_process_delivers_to_a_channel(alerting_fleet, monkeypatch):
    with room(monkeypatch) as receiver, lease(alerting_fleet.workspace.engine, "deliver room"):
        (result,) = deliver(alerting_fleet.workspace, clock=DeliveryClock())

    assert result.error == "another process is delivering to this channel"
    assert receiver.accepted == []


def test_no_address_is_logged_or_stored(alerting_fleet, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    with room(monkeypatch, Reply.DISCONNECT, Reply.ERROR_500, Reply.STALL):
        deliver(alerting_fleet.workspace, clock=DeliveryClock())
    monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", f"nonsense://{SECRET}")
    deliver(alerting_fleet.workspace, clock=DeliveryClock(80))

    with alerting_fleet.workspace.engine.connect() as connection:
        stored = str(connection.exec_driver_sql("SELECT * FROM outbox").all())
    assert SECRET not in caplog.text
    assert SECRET not in stored
    assert "the channel answered 500" in caplog.text
    assert "Apprise does not support this kind of address" in stored


def test_addresses_can_come_from_a_file(alerting_fleet, tmp_path, monkeypatch):
    file = tmp_path / "channels.yaml"
    with MessageReceiver(itertools.repeat(Reply.ACCEPT)) as receiver:
        file.write_text(f'room: "{receiver.address}"\n')
        monkeypatch.setenv("SAFEPLAN_DELIVERY_CHANNELS", str(file))
        monkeypatch.delenv("SAFEPLAN_CHANNEL_ROOM")
        deliver(alerting_fleet.workspace, clock=DeliveryClock())

    assert receiver.accepted_changes() == changes_of(alerting_fleet)


def test_errors_name_the_file_of_addresses_but_not_its_content(alerting_fleet, tmp_path, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_DELIVERY_CHANNELS", str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigurationError, match=r"none\.yaml is not a file"):
        deliver(alerting_fleet.workspace, clock=DeliveryClock())

    (tmp_path / "none.yaml").write_text(f"room: [{SECRET}]\n")
    with pytest.raises(ConfigurationError, match="room must be one URL") as caught:
        deliver(alerting_fleet.workspace, clock=DeliveryClock())
    assert SECRET not in str(caught.value)


@pytest.fixture
def routed_fleet(monitored_fleet, monkeypatch):
    """Three channels with a route each, and one without."""
    monkeypatch.setenv("SAFEPLAN_CHANNEL_ALL", "json://127.0.0.1:1/")
    monitored_fleet.write_rules(
        delivery={
            "routes": {
                "process": {"types": ["ANOMALY"], "severity": 3, "changes": ["opened", "worsened"]},
                "instruments": {"types": ["INSTRUMENT"]},
                "p51": {"platforms": ["P-51"]},
            }
        }
    )
    return monitored_fleet


def test_channels_are_notified_of_what_their_routes_select(routed_fleet):
    """Instruments separate from the process, danger from warnings, one platform from the other."""
    for name in ("PT-1", "PT-2"):
        routed_fleet.read(name, 0, noisy_values(60, seed=7))
    routed_fleet.read("TT-1", 0, noisy_values(20, seed=7))
    routed_fleet.score("PT-1", 0, [0.7] * 30 + [0.9] * 30)
    routed_fleet.score("PT-2", 0, [0.7] * 60)

    routed_fleet.watch(60)

    outbox = Outbox(routed_fleet.workspace.engine)
    reported = {
        channel: [
            (queued.message["sensor_id"], queued.message["change"]) for queued in outbox.waiting(channel)
        ]
        for channel in outbox.channels()
    }
    assert reported["process"] == [("PT-1", "worsened")]
    assert reported["instruments"] == reported["p51"] == [("TT-1", "opened")]
    assert sorted(reported["all"]) == [
        ("PT-1", "opened"),
        ("PT-1", "worsened"),
        ("PT-2", "opened"),
        ("TT-1", "opened"),
    ]


def test_messages_are_in_the_language_and_time_zone_of_the_site(alerting_fleet, monitored_fleet, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_SITE_LANGUAGE", "pt")
    monkeypatch.setenv("SAFEPLAN_SITE_ZONE", "America/Sao_Paulo")
    acknowledge(
        monitored_fleet.workspace, monitored_fleet.alerts("TT-1")[0].id, by="Ana", now=minutes_after_noon(62)
    )

    message = Outbox(monitored_fleet.workspace.engine).waiting("room")[-1].message
    assert message["title"] == "ATENÇÃO · TT-1 (P-51): Anomalia, reconhecido"
    assert "desde 01/03/2026 09:20" in message["body"]
    assert "por Ana" in message["body"]


def test_a_message_renders_the_reasons_of_its_alert_for_the_reader(monitored_fleet, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", "json://127.0.0.1:1/")
    monkeypatch.setenv("SAFEPLAN_SITE_LANGUAGE", "pt")
    monkeypatch.setenv("SAFEPLAN_SITE_ZONE", "America/Sao_Paulo")
    for name in ("PT-1", "PT-2", "TT-1"):
        monitored_fleet.read(name, 0, noisy_values(10, seed=7))

    monitored_fleet.watch(30, "PT-1")

    (alert,) = monitored_fleet.alerts("PT-1")
    message = Outbox(monitored_fleet.workspace.engine).waiting("room")[-1].message
    assert message["title"] == "ATENÇÃO · PT-1 (P-48): Instrumento (sem dados), novo alerta"
    assert message["body"].startswith(
        "sem dados desde 01/03/2026 09:09; normalmente uma leitura a cada 1 min"
    )
    assert alert.evidence.reason == "no data since 2026-03-01 12:09 UTC; normally one reading every 1 min"


def test_a_message_shows_what_an_operator_chose(monitored_fleet):
    alert = Alert(
        AlertTopic(AlertType.ANOMALY, "PT-1"), Severity.WARNING, AlertState.OPEN,
        *[minutes_after_noon(0)] * 4, AlertEvidence(reason="as in 0.1.0"), id=1,
        shelved_until=minutes_after_noon(90),
        verdict=AlertVerdict.FALSE, note="test signal",
    )  # fmt: skip
    shelved = AlertEvent(AlertChange.SHELVED, minutes_after_noon(60), Severity.WARNING, by="Ana")
    judged = replace(shelved, change=AlertChange.JUDGED)

    bodies = [
        compose_message(alert, event, 2, Sensor(id="PT-1"), Translator(), MessageSettings())["body"]
        for event in (shelved, judged)
    ]

    assert bodies[0].splitlines()[0] == "as in 0.1.0"
    assert "by Ana, shelved until 2026-03-01 13:30" in bodies[0]
    assert "by Ana: false alarm (test signal)" in bodies[1]


def test_a_message_names_tag_place_normal_range_and_what_to_do(monitored_fleet):
    normal = NormalBand(level=20.0, half_width=2.0)
    alert = Alert(
        AlertTopic(AlertType.LIMIT, "PT-1", "high_high", "P-48"), Severity.CRITICAL, AlertState.OPEN,
        *[minutes_after_noon(0)] * 4, AlertEvidence(reason="too high", value=31.0), id=7,
        normal=normal, repeats=2,
    )  # fmt: skip
    opened = AlertEvent(AlertChange.OPENED, minutes_after_noon(1), Severity.CRITICAL)
    sensor = Sensor(id="PT-1", name="Discharge pressure", platform="P-48", unit="bar")
    settings = MessageSettings(
        page_url="https://plant.example/ml/", sensor_runbooks={"PT-*": "Check the discharge valve."}
    )

    message, returned = (
        compose_message(alert, event, 1, sensor, Translator("pt", "America/Sao_Paulo"), settings)
        for event in (opened, replace(opened, change=AlertChange.RETURNED))
    )

    assert message["title"].startswith("CRÍTICO · PT-1 Discharge pressure (P-48): ")
    lines = message["body"].splitlines()
    assert "faixa normal de 18 a 22 bar" in lines
    assert "desde 01/03/2026 09:00 -03:00, notificado em 01/03/2026 09:01 -03:00" in lines
    assert "O que fazer: Check the discharge valve." in lines
    assert "https://plant.example/ml/?view=anomalies&sensor=PT-1" in lines
    assert lines[-1] == "alerta 7.1, 2 repetições"
    assert "O que fazer" not in returned["body"]


def test_a_runbook_of_the_type_counts_where_no_sensor_matches():
    settings = MessageSettings(
        sensor_runbooks={"PT-1": "first"}, type_runbooks={AlertType.INSTRUMENT: "call the instrument shop"}
    )

    assert settings.runbook(Sensor(id="PT-1"), AlertType.INSTRUMENT) == "first"
    assert settings.runbook(Sensor(id="TT-1"), AlertType.INSTRUMENT) == "call the instrument shop"
    assert settings.runbook(Sensor(id="TT-1"), AlertType.ANOMALY) is None
