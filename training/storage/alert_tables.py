"""The tables of alerts: alerts and their changes, notifications, maintenance, alarm budget, scheduled jobs.

What the columns mean is defined in `monitoring`; training reads the verdicts and the maintenance windows.
"""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
    true,
)

from training.storage.columns import UtcTime, metadata

# Alerts, one row an episode. `subject` distinguishes alerts of one type and sensor: frozen and without data,
# above and below. `revision` is the number of its rows in `alert_changes`.
alerts = Table(
    "alerts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("type", Text, nullable=False),  # LIMIT, ANOMALY, FORECAST_WARNING, DRIFT or INSTRUMENT
    Column("sensor_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("severity", Integer, nullable=False),  # 2 to 4, the highest it reached
    Column("state", Text, nullable=False),  # open, returned or closed
    Column("began_at", UtcTime, nullable=False),  # the first anomalous reading
    Column("opened_at", UtcTime, nullable=False),
    Column("last_at", UtcTime, nullable=False),  # the newest anomalous reading
    Column("returned_at", UtcTime),
    Column("closed_at", UtcTime),
    Column("waiting_since", UtcTime),  # for an acknowledgement
    Column("acknowledged_at", UtcTime),
    Column("acknowledged_by", Text),
    Column("shelved_until", UtcTime),
    Column("shelved_by", Text),
    Column("escalations", Integer, nullable=False),
    Column("repeats", Integer, nullable=False),
    Column("value", Double),  # of the most anomalous reading
    Column("score", Double),
    Column("threshold", Double),
    Column("limit", Double),  # the operating limit to be crossed, or the end of the range
    Column("crosses_at", UtcTime),
    Column("probability", Double),
    Column("reason", Text, nullable=False),  # in English
    Column("reason_data", Text),  # the reasons as JSON; empty in rows of 0.1.0
    Column("model_version", Text, nullable=False),
    Column("verdict", Text),  # confirm, false or maintenance
    Column("verdict_at", UtcTime),
    Column("verdict_by", Text),
    Column("note", Text),
    Column("group_id", Integer),  # the alert of the flood that this one is part of
    Column("changed_at", UtcTime, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("settled_at", UtcTime),  # at a new level, which nobody has accepted yet
    Column("settled_level", Double),
    Column("notified", Boolean, nullable=False, server_default=true()),  # false: history only
    Column("observed", JSON(none_as_null=True)),  # first and newest reading, time of the worst, normal band
    sqlite_autoincrement=True,
)
Index("alerts_by_time", alerts.c.opened_at)
Index(
    "alerts_alive",
    alerts.c.type,
    alerts.c.sensor_id,
    alerts.c.subject,
    unique=True,
    postgresql_where=text("state <> 'closed'"),
    sqlite_where=text("state <> 'closed'"),
)

# The history of each alert.
alert_changes = Table(
    "alert_changes",
    metadata,
    Column("alert_id", Integer, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("change", Text, nullable=False),
    Column("at", UtcTime, nullable=False),  # by the time of the readings
    Column("recorded_at", UtcTime, nullable=False),  # by the clock of the program
    Column("severity", Integer, nullable=False),
    Column("by", Text),
    Column("detail", Text),  # in English
    Column("reason_data", Text),  # the detail as JSON; empty where 0.1.0 wrote a text only
)
Index("alert_changes_by_time", alert_changes.c.at)

# The progress of the watch: the newest reading seen of each sensor, and conditions that may become an alert.
alert_watches = Table(
    "alert_watches",
    metadata,
    Column("type", Text, primary_key=True),
    Column("sensor_id", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("seen", UtcTime),
    Column("pending", JSON, nullable=False),
)

# Notifications, one row a change of an alert and channel; the name of the channel only, never its address.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("alert_id", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("channel", Text, nullable=False),
    Column("message", JSON, nullable=False),
    Column("made_at", UtcTime, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", UtcTime, nullable=False),
    Column("sent_at", UtcTime),
    Column("given_up_at", UtcTime),
    Column("error", Text),
    UniqueConstraint("alert_id", "revision", "channel", name="outbox_once"),
    sqlite_autoincrement=True,
)
Index(
    "outbox_waiting",
    outbox.c.channel,
    outbox.c.id,
    postgresql_where=text("sent_at IS NULL AND given_up_at IS NULL"),
    sqlite_where=text("sent_at IS NULL AND given_up_at IS NULL"),
)

# Maintenance windows of a sensor or a platform: no alert begins in them, and no model learns from them.
maintenance = Table(
    "maintenance",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sensor_id", Text),
    Column("platform", Text),
    Column("alert_id", Integer),  # the alert whose verdict is maintenance
    Column("start", UtcTime, nullable=False),
    Column("end", UtcTime, nullable=False),
    Column("reason", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("made_at", UtcTime, nullable=False),
    sqlite_autoincrement=True,
)
Index("maintenance_by_end", maintenance.c.end)

# Each sensor's share of the alarm budget, and the least score of an alert.
alert_thresholds = Table(
    "alert_thresholds",
    metadata,
    Column("sensor_id", Text, primary_key=True),
    Column("severity", Integer, primary_key=True),
    Column("threshold", Double, nullable=False),
    Column("per_day", Double, nullable=False),  # alerts expected a day
    Column("reason", Text, nullable=False),  # in English
    Column("reason_data", Text),  # the reasons as JSON; empty in rows of 0.1.0
    Column("made_at", UtcTime, nullable=False),
)

# Runs of scheduled jobs: each time a job is due, the scheduler that writes the row first runs it.
job_runs = Table(
    "job_runs",
    metadata,
    Column("job", Text, primary_key=True),
    Column("due_at", UtcTime, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("status", Text, nullable=False),
    Column("missed", Integer, nullable=False),  # earlier times it was due and did not run
    Column("detail", Text),
)
Index("job_runs_by_start", job_runs.c.started_at)
