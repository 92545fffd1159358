"""Delivery to a real receiver that fails, stalls and answers 500: each change arrives once, in order."""

import itertools
import json
import logging
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from monitoring.notify.delivery import deliver
from monitoring.notify.outbox import Outbox
from monitoring.notify.sender import DeliveryRefused
from monitoring.watch.operator_actions import acknowledge
from tests.support.monitored_fleet import minutes_after_noon, noisy_values
from training.errors import ConfigurationError
from training.storage.leases import lease

SECRET = "t0p-s3cr3t"


class MessageReceiver:
    """A web hook. `moods` says how each request is met; what was taken is kept."""

    def __init__(self, moods) -> None:
        self.moods = iter(moods)
        self.taken: list[dict] = []
        self.seen: list[str] = []
        self.lock = threading.Lock()
        self.wake = threading.Event()
        receiver = self

        class Hook(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with receiver.lock:
                    mood = next(receiver.moods)
                    receiver.seen.append(self.headers["Idempotency-Key"])
                if mood == "stalls":
                    receiver.wake.wait(5)
                elif mood == "takes":
                    with receiver.lock:
                        receiver.taken.append(body["alert"])
                    self.send_response(200)
                    self.end_headers()
                elif mood == "answers 500":
                    self.send_response(500)
                    self.end_headers()
                # else it fails: the line is cut without an answer

            def log_message(self, *_) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        self.server.daemon_threads = True
        self.address = f"json://127.0.0.1:{self.server.server_address[1]}/{SECRET}"

    def __enter__(self) -> "MessageReceiver":
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.wake.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class DeliveryClock:
    """Time goes on when a test says so."""

    def __init__(self, minutes: float = 60) -> None:
        self.minutes = minutes

    def __call__(self):
        return minutes_after_noon(self.minutes)


@pytest.fixture
def alerting_fleet(monitored_fleet, monkeypatch):
    """Three alerts with nine changes; the channel `room` is told of all of them."""
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


def changes_of(plant) -> dict[int, list[str]]:
    return {alert.id: [change for change, _ in plant.told(alert)] for alert in plant.alerts()}


def taken_by(receiver) -> dict[int, list[str]]:
    result = defaultdict(list)
    for message in receiver.taken:
        result[message["alert_id"]].append(message["change"])
    return dict(result)


@contextmanager
def room(monkeypatch, *moods: str) -> Iterator[MessageReceiver]:
    with MessageReceiver(itertools.chain(moods, itertools.repeat("takes"))) as receiver:
        monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", receiver.address)
        yield receiver


def test_a_receiver_that_fails_stalls_and_answers_500_in_turn_gets_each_change_once_in_order(
    alerting_fleet, monkeypatch
):
    moods = itertools.cycle(["fails", "stalls", "answers 500", "takes"])
    clock = DeliveryClock()
    with MessageReceiver(moods) as receiver:
        monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", receiver.address)
        rounds = 0
        while Outbox(alerting_fleet.workspace.engine).channels():
            deliver(alerting_fleet.workspace, clock=clock)
            clock.minutes += 16
            rounds += 1
            assert rounds < 100

    assert taken_by(receiver) == changes_of(alerting_fleet)
    assert sum(map(len, changes_of(alerting_fleet).values())) == 9
    assert len(receiver.seen) > 2 * len(receiver.taken)
    assert len({message["id"] for message in receiver.taken}) == len(receiver.taken)


def test_a_message_tried_again_carries_the_same_id(alerting_fleet, monkeypatch):
    clock = DeliveryClock()
    with room(monkeypatch, "answers 500", "answers 500", "answers 500") as receiver:
        deliver(alerting_fleet.workspace, clock=clock)
        clock.minutes += 1
        deliver(alerting_fleet.workspace, clock=clock)

    assert set(receiver.seen[:3]) <= set(receiver.seen[3:])
    assert len(set(receiver.seen)) == 9


def test_what_was_delivered_is_not_delivered_again(alerting_fleet, monkeypatch):
    clock = DeliveryClock()
    with room(monkeypatch) as receiver:
        first = deliver(alerting_fleet.workspace, clock=clock)
        again = deliver(alerting_fleet.workspace, clock=clock)

    assert [(d.channel, d.sent, d.failed) for d in first] == [("room", 9, 0)]
    assert again == []
    assert len(receiver.taken) == 9


def test_a_refused_message_holds_back_those_of_its_alert_and_no_other(alerting_fleet, monkeypatch):
    clock = DeliveryClock()
    with room(monkeypatch, "answers 500") as receiver:
        deliver(alerting_fleet.workspace, clock=clock)

    first = alerting_fleet.alerts()[0].id
    assert first not in taken_by(receiver)
    assert set(taken_by(receiver)) == set(changes_of(alerting_fleet)) - {first}


def test_a_channel_that_is_down_delays_only_itself(alerting_fleet, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_CHANNEL_NIGHT", "json://127.0.0.1:1/")
    alerting_fleet.read("TT-1", 60, noisy_values(30, seed=9))
    alerting_fleet.score("TT-1", 60, [0.9] * 30)
    alerting_fleet.watch(90)
    with room(monkeypatch) as receiver:
        result = {d.channel: d for d in deliver(alerting_fleet.workspace, clock=DeliveryClock(90))}

    assert result["night"].sent == 0
    assert result["night"].error == "it could not be reached"
    assert result["room"].failed == 0
    assert taken_by(receiver) == changes_of(alerting_fleet)


def test_a_channel_that_is_down_is_asked_a_few_times_a_round_and_ever_less_often(alerting_fleet, monkeypatch):
    clock, asked = DeliveryClock(), []

    class Nobody:
        def carry(self, message, _) -> None:
            asked.append((clock.minutes, message["id"]))
            raise DeliveryRefused("nobody is there")

    for minutes in (60, 60.1, 60.2, 61, 62):
        clock.minutes = minutes
        deliver(alerting_fleet.workspace, clock=clock, sender=Nobody())

    assert [when for when, _ in asked] == [60] * 3 + [60.2] * 3 + [61] * 3 + [62] * 3
    assert len({one for _, one in asked}) == 3


def test_a_message_that_nobody_takes_for_days_is_given_up_and_that_is_said(alerting_fleet, caplog):
    result = deliver(alerting_fleet.workspace, clock=DeliveryClock(60 + 3 * 24 * 60 + 1))

    (queue,) = Outbox(alerting_fleet.workspace.engine).queues()
    assert result == []
    assert (queue.channel, queue.waiting, queue.given_up) == ("room", 0, 9)
    assert "9 messages were given up" in caplog.text


def test_only_one_process_delivers_to_a_channel(alerting_fleet, monkeypatch):
    with room(monkeypatch) as receiver, lease(alerting_fleet.workspace.engine, "deliver room"):
        (result,) = deliver(alerting_fleet.workspace, clock=DeliveryClock())

    assert result.error == "another process is delivering to it"
    assert receiver.taken == []


def test_no_address_is_ever_written_down(alerting_fleet, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    with room(monkeypatch, "fails", "answers 500", "stalls"):
        deliver(alerting_fleet.workspace, clock=DeliveryClock())
    monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", f"nonsense://{SECRET}")
    deliver(alerting_fleet.workspace, clock=DeliveryClock(80))

    with alerting_fleet.workspace.engine.connect() as connection:
        kept = str(connection.exec_driver_sql("SELECT * FROM outbox").all())
    assert SECRET not in caplog.text
    assert SECRET not in kept
    assert "it answered 500" in caplog.text
    assert "none that Apprise knows" in kept


def test_addresses_come_from_a_file_and_the_environment_wins(alerting_fleet, tmp_path, monkeypatch):
    file = tmp_path / "channels.yaml"
    with MessageReceiver(itertools.repeat("takes")) as receiver:
        file.write_text(f'room: "{receiver.address}"\n')
        monkeypatch.setenv("SAFEPLAN_DELIVERY_CHANNELS", str(file))
        monkeypatch.delenv("SAFEPLAN_CHANNEL_ROOM")
        deliver(alerting_fleet.workspace, clock=DeliveryClock())

    assert taken_by(receiver) == changes_of(alerting_fleet)


def test_a_file_of_addresses_that_is_not_there_is_named_and_its_content_never(
    alerting_fleet, tmp_path, monkeypatch
):
    monkeypatch.setenv("SAFEPLAN_DELIVERY_CHANNELS", str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigurationError, match=r"none\.yaml, which is no file"):
        deliver(alerting_fleet.workspace, clock=DeliveryClock())

    (tmp_path / "none.yaml").write_text(f"room: [{SECRET}]\n")
    with pytest.raises(ConfigurationError, match="room must be one URL") as caught:
        deliver(alerting_fleet.workspace, clock=DeliveryClock())
    assert SECRET not in str(caught.value)


@pytest.fixture
def routed_fleet(monitored_fleet, monkeypatch):
    """Which alerts reach which channel."""
    monkeypatch.setenv("SAFEPLAN_CHANNEL_ALL", "json://127.0.0.1:1/")
    monitored_fleet.rule(
        delivery={
            "routes": {
                "process": {"types": ["ANOMALY"], "severity": 3, "changes": ["opened", "worsened"]},
                "instruments": {"types": ["INSTRUMENT"]},
                "p51": {"platforms": ["P-51"]},
            }
        }
    )
    return monitored_fleet


def test_channels_are_told_what_their_routes_say(routed_fleet):
    """Instruments apart from the process, danger apart from warnings, one platform apart from the other."""
    for name in ("PT-1", "PT-2"):
        routed_fleet.read(name, 0, noisy_values(60, seed=7))
    routed_fleet.read("TT-1", 0, noisy_values(20, seed=7))
    routed_fleet.score("PT-1", 0, [0.7] * 30 + [0.9] * 30)
    routed_fleet.score("PT-2", 0, [0.7] * 60)

    routed_fleet.watch(60)

    outbox = Outbox(routed_fleet.workspace.engine)
    reported = {
        channel: [(one.message["sensor_id"], one.message["change"]) for one in outbox.waiting(channel)]
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


def test_messages_speak_the_language_and_the_clock_of_the_site(alerting_fleet, monitored_fleet, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_SITE_LANGUAGE", "pt")
    monkeypatch.setenv("SAFEPLAN_SITE_ZONE", "America/Sao_Paulo")
    acknowledge(
        monitored_fleet.workspace, monitored_fleet.alerts("TT-1")[0].id, by="Ana", now=minutes_after_noon(62)
    )

    message = Outbox(monitored_fleet.workspace.engine).waiting("room")[-1].message
    assert message["title"] == "ATENÇÃO: TT-1, Anomalia: reconhecido"
    assert "desde 01/03/2026 09:20" in message["body"]
    assert "por Ana" in message["body"]
