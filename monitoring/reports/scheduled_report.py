"""The shift report by schedule: written to a folder and sent to channels, such as mail, as an attachment.

When it is due is in `monitoring.schedule.settings`.
"""

import uuid
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from pydantic import Field, field_validator
from sqlalchemy import insert, select

from monitoring.i18n.translation import load_translator
from monitoring.notify.message import MESSAGE_NAMESPACE, NotifyType
from monitoring.notify.outbox import new_row
from monitoring.reports.report_files import write_report
from monitoring.reports.shift_report import build_shift_report
from training.common.times import to_seconds
from training.errors import write_errors
from training.operations.console import to_json_value
from training.settings import Settings, load_settings
from training.storage.alert_tables import outbox
from training.storage.database import writing
from training.workspace import Workspace

REPORT_ALERT_ID = 0  # of the outbox rows: a report belongs to no alert; ids of alerts begin at 1


class ReportFormat(StrEnum):
    """The file formats of a report."""

    PDF = "pdf"
    XLSX = "xlsx"
    HTML = "html"


class ShiftReportSettings(Settings, file="monitoring", section="shift_report"):
    """The shift report that the job `report` writes and sends."""

    hours: float = Field(8.0, gt=0, description="length of a shift")
    format: ReportFormat = Field(ReportFormat.PDF, description="pdf, xlsx or html")
    folder: str = Field("reports", description="folder of the files, in SAFEPLAN_HOME unless absolute")
    author: str = Field("SafePlan", description="author named in the report")
    channels: tuple[str, ...] = Field((), description="channels that get the file, best a mailto one")

    @field_validator("channels")
    @classmethod
    def _lower_case(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        # Names from environment variables are lower case.
        return tuple(name.lower() for name in names)


def write_scheduled_report(workspace: Workspace, *, now: datetime) -> Path:
    """Write the report of the shift that ends now (naive UTC) and queue it for its channels, each once.

    Raises:
        UnwritableFile: the folder or the file cannot be written.
    """
    settings, _ = load_settings(ShiftReportSettings), load_translator()
    end = now.replace(second=0, microsecond=0)
    start = end - timedelta(hours=settings.hours)
    shift = build_shift_report(workspace, start=start, end=end, author=settings.author, words=_)
    folder = workspace.home / settings.folder
    path = folder / f"shift-{_.moment(end, 'yyyyMMdd-HHmm')}.{settings.format.value}"
    with write_errors("The report", path):
        folder.mkdir(parents=True, exist_ok=True)
    write_report(shift, path)
    revision = int(to_seconds(end)) // 60  # one report a minute at most
    message = {
        "id": str(uuid.uuid5(MESSAGE_NAMESPACE, f"shift report {end.isoformat()}")),
        "title": shift.title,
        "body": "\n".join(f"{name}: {text}" for name, text in shift.header),
        "notify_type": NotifyType.INFO.value,
        "attachment": str(path),
        "at": to_json_value(end),
    }
    with writing(workspace.engine) as connection:
        queued = select(outbox.c.channel).where(
            outbox.c.alert_id == REPORT_ALERT_ID, outbox.c.revision == revision
        )
        already = set(connection.execute(queued).scalars())
        rows = [
            new_row(REPORT_ALERT_ID, revision, channel, message, now)
            for channel in settings.channels
            if channel not in already
        ]
        if rows:
            connection.execute(insert(outbox), rows)
    return path
