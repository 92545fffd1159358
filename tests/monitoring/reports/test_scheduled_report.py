"""The shift report by schedule: written once per shift, delivered once per channel as an attachment."""

import base64
import itertools

import pytest

from monitoring.notify.delivery import deliver
from monitoring.reports.scheduled_report import write_scheduled_report
from monitoring.schedule.jobs import run_job
from monitoring.schedule.settings import JobName
from tests.support.message_receiver import MessageReceiver, Reply
from tests.support.monitored_fleet import minutes_after_noon
from training.errors import ConfigurationError

SHIFT_END = minutes_after_noon(180)


@pytest.fixture
def mail(monkeypatch):
    """A channel that accepts everything."""
    with MessageReceiver(itertools.repeat(Reply.ACCEPT)) as receiver:
        monkeypatch.setenv("SAFEPLAN_CHANNEL_MAIL", receiver.address)
        yield receiver


def test_the_job_writes_the_file_and_sends_it_once(monitored_fleet, mail):
    monitored_fleet.write_rules(
        site={"language": "pt", "zone": "America/Sao_Paulo"}, shift_report={"channels": ["Mail"]}
    )

    for _ in range(2):
        result = run_job(JobName.REPORT, monitored_fleet.workspace, now=SHIFT_END)
        deliver(monitored_fleet.workspace, clock=lambda: SHIFT_END)

    path = monitored_fleet.home / "reports" / "shift-20260301-1200.pdf"
    assert result.detail == f"wrote {path}"
    ((attachment,),) = mail.attachments
    assert attachment["filename"] == path.name
    assert base64.b64decode(attachment["base64"]).startswith(b"%PDF")


def test_a_file_deleted_before_delivery_is_reported_and_retried(monitored_fleet, mail):
    monitored_fleet.write_rules(shift_report={"channels": ["mail"], "format": "html"})
    path = write_scheduled_report(monitored_fleet.workspace, now=SHIFT_END)
    content = path.read_bytes()
    path.unlink()

    (failed,) = deliver(monitored_fleet.workspace, clock=lambda: SHIFT_END)
    path.write_bytes(content)
    (sent,) = deliver(monitored_fleet.workspace, clock=lambda: minutes_after_noon(200))

    assert "is not a file" in failed.error
    assert (failed.sent, sent.sent) == (0, 1)


def test_a_folder_that_cannot_be_made_is_a_clear_error(monitored_fleet):
    (monitored_fleet.home / "taken").write_text("a file")
    monitored_fleet.write_rules(shift_report={"folder": "taken"})

    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_scheduled_report(monitored_fleet.workspace, now=SHIFT_END)
