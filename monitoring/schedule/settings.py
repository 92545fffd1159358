"""When each job is due and how long it may take: settings, cron expressions and due times.

Cron expressions are read in the site's time zone. What jobs do is in `jobs`.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger
from pydantic import BaseModel, ConfigDict, Field, field_validator

from monitoring.i18n.translation import SiteSettings
from training.errors import ConfigurationError
from training.settings import Settings, load_settings, log_deprecated

CRON_FIELDS = ("second", "minute", "hour", "day", "month", "day_of_week")
MAX_LOOKBACK = timedelta(days=2)  # older due times do not count as missed


def parse_cron(line: str, zone: tzinfo) -> CronTrigger:
    """A cron expression as APScheduler's trigger; Sunday is 0 or 7, as in cron.

    Raises:
        ValueError: the number of fields is wrong, or one is invalid.
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
    """The day-of-week field with names: cron counts from Sunday, APScheduler from Monday.

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
    """The scheduled jobs."""

    DETECT = "detect"
    FORECAST = "forecast"
    DELIVER = "deliver"
    ALLOCATE_BUDGET = "allocate-budget"
    DRIFT = "drift"
    RETRAIN = "retrain"
    RETENTION = "retention"
    REPORT = "report"


FORMER_JOB_NAMES = {"share": JobName.ALLOCATE_BUDGET, "tidy": JobName.RETENTION}  # of 0.1.0


def parse_job_name(text: str) -> JobName:
    """The job of this name; a former name is accepted with a deprecation notice.

    Raises:
        ConfigurationError: there is no such job.
    """
    if job := FORMER_JOB_NAMES.get(text):
        log_deprecated(f"job {text}", job.value)
        return job
    if text not in set(JobName):
        raise ConfigurationError(f"job {text!r} does not exist; jobs: {', '.join(JobName)}.")
    return JobName(text)


class JobRule(BaseModel):
    """When one job is due, and how long it may take."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cron: str = Field(description="five fields as in cron, or six with seconds first")
    timeout: timedelta = Field(gt=timedelta(0))
    enabled: bool = True

    @field_validator("cron")
    @classmethod
    def _is_valid(cls, line: str) -> str:
        parse_cron(line, UTC)
        return line


class ScheduleSettings(
    Settings,
    file="monitoring",
    section="schedule",
    former_names={"share": "allocate_budget", "tidy": "retention"},
):
    """The jobs and their rules; a rule is replaced as a whole."""

    detect: JobRule = JobRule(cron="* * * * *", timeout=timedelta(minutes=10))
    forecast: JobRule = JobRule(cron="2 * * * *", timeout=timedelta(minutes=30))
    deliver: JobRule = JobRule(cron="*/15 * * * * *", timeout=timedelta(minutes=10))
    allocate_budget: JobRule = JobRule(cron="30 1 * * *", timeout=timedelta(hours=1))
    # Before `retrain`, which reads the newest checks.
    drift: JobRule = JobRule(cron="0 1 * * *", timeout=timedelta(hours=1))
    retrain: JobRule = JobRule(cron="0 2 * * *", timeout=timedelta(hours=6))
    retention: JobRule = JobRule(cron="45 1 * * *", timeout=timedelta(hours=1))

    # Off until a site has shifts and channels; see the section shift_report.
    report: JobRule = JobRule(cron="0 7,15,23 * * *", timeout=timedelta(minutes=30), enabled=False)

    def rule(self, job: JobName) -> JobRule:
        """The rule of one job."""
        job_rule: JobRule = getattr(self, job.value.replace("-", "_"))
        return job_rule


def site_zone() -> ZoneInfo:
    """The time zone of the site."""
    return ZoneInfo(load_settings(SiteSettings).zone)


def due_times(trigger: CronTrigger, after: datetime | None, until: datetime) -> list[datetime]:
    """The times a job was due after `after` and until `until` (naive UTC), at most the last two days.

    Without `after`: the last due time only.
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
