"""When each job is due and how long it may take.

Knows the section `schedule` of conf/monitoring.yaml and how a line of cron is read. By the site's clock: two
in the night is when the plant's night is.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger
from pydantic import BaseModel, ConfigDict, Field, field_validator

from monitoring.i18n.translation import SiteSettings
from training.settings import Settings, load_settings

CRON_FIELDS = ("second", "minute", "hour", "day", "month", "day_of_week")
MAX_LOOKBACK = timedelta(days=2)  # into the past, for times that nobody ran a job


def parse_cron(line: str, zone: tzinfo) -> CronTrigger:
    """A line of cron as APScheduler's trigger; Sunday is 0 and 7, as in cron.

    Raises:
        ValueError: it has another number of fields, or one cannot be meant.
    """
    fields = line.split()
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != len(CRON_FIELDS):
        raise ValueError(f"{line!r} has {len(fields)} fields; cron has 5, or 6 with seconds first")
    values = dict(zip(CRON_FIELDS, fields, strict=True))
    values["day_of_week"] = _weekdays(values["day_of_week"])
    return CronTrigger(timezone=zone, **values)


def _weekdays(field: str) -> str:
    """Cron's numbers begin with Sunday, APScheduler's with Monday.

    >>> _weekdays("1-5"), _weekdays("0"), _weekdays("mon,7"), _weekdays("*/2")
    ('mon-fri', 'sun', 'mon,sun', '*/2')
    """
    names = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
    parts = []
    for part in field.split(","):
        head, slash, step = part.partition("/")
        ends = [names[int(end)] if end.isdigit() and int(end) <= 7 else end for end in head.split("-")]
        parts.append("-".join(ends) + slash + step)
    return ",".join(parts)


class JobName(StrEnum):
    """What is done again and again."""

    DETECT = "detect"
    FORECAST = "forecast"
    DELIVER = "deliver"
    ALLOCATE_BUDGET = "share"
    DRIFT = "drift"
    RETRAIN = "retrain"
    RETENTION = "tidy"


class JobRule(BaseModel):
    """When one job is due, and after how long it is stuck."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cron: str = Field(description="five fields as in cron, or six with seconds first")
    timeout: timedelta = Field(gt=timedelta(0))
    enabled: bool = True

    @field_validator("cron")
    @classmethod
    def _can_be_read(cls, line: str) -> str:
        parse_cron(line, UTC)
        return line


class ScheduleSettings(Settings, file="monitoring", section="schedule"):
    """All jobs; a job that changes one thing about itself must say all three."""

    detect: JobRule = JobRule(cron="* * * * *", timeout=timedelta(minutes=10))
    forecast: JobRule = JobRule(cron="2 * * * *", timeout=timedelta(minutes=30))
    deliver: JobRule = JobRule(cron="*/15 * * * * *", timeout=timedelta(minutes=10))
    share: JobRule = JobRule(cron="30 1 * * *", timeout=timedelta(hours=1))
    # Before retraining by need, which goes by the newest checks.
    drift: JobRule = JobRule(cron="0 1 * * *", timeout=timedelta(hours=1))
    retrain: JobRule = JobRule(cron="0 2 * * *", timeout=timedelta(hours=6))
    tidy: JobRule = JobRule(cron="45 1 * * *", timeout=timedelta(hours=1))

    def rule(self, job: JobName) -> JobRule:
        """One job's rule."""
        job_rule: JobRule = getattr(self, job.value)
        return job_rule


def site_zone() -> ZoneInfo:
    """The clock on the control room's wall."""
    return ZoneInfo(load_settings(SiteSettings).zone)


def due_times(trigger: CronTrigger, after: datetime | None, until: datetime) -> list[datetime]:
    """The times a job was due after a moment and until another (naive UTC), of at most the last two days.

    Without a moment before: the last one only.
    """
    earliest = max(after or until - MAX_LOOKBACK, until - MAX_LOOKBACK)
    times: list[datetime] = []
    aware = (earliest + timedelta(microseconds=1)).replace(tzinfo=UTC)
    while (due := trigger.get_next_fire_time(None, aware)) is not None:
        moment = due.astimezone(UTC)
        if moment.replace(tzinfo=None) > until:
            break
        times.append(moment.replace(tzinfo=None))
        aware = moment + timedelta(microseconds=1)
    return times if after is not None else times[-1:]
