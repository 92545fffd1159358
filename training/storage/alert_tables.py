"""The tables of alerts: what is watched, what was raised, what became of it, who is still to be told.

Knows columns. What they mean belongs to `monitoring`; training reads of them what people said about alerts.
"""

from sqlalchemy import JSON, Column, Double, Index, Integer, Table, Text, UniqueConstraint, text

from training.storage.columns import UtcTime, metadata

# One row an episode. `subject` tells two alerts of one type and sensor apart: frozen and silent, too high
# and too low. `revision` counts what happened to it: the number of its rows in `alert_changes`.
alerts = Table(
    "alerts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("type", Text, nullable=False),  # ANOMALY, FORECAST_WARNING, DRIFT or INSTRUMENT
    Column("sensor_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("severity", Integer, nullable=False),  # 2 to 4, the highest it reached
    Column("state", Text, nullable=False),  # open, returned or closed
    Column("began_at", UtcTime, nullable=False),  # the first reading that was odd
    Column("opened_at", UtcTime, nullable=False),
    Column("last_at", UtcTime, nullable=False),  # the newest reading that was odd
    Column("returned_at", UtcTime),
    Column("closed_at", UtcTime),
    Column("waiting_since", UtcTime),  # for somebody to acknowledge it
    Column("acknowledged_at", UtcTime),
    Column("acknowledged_by", Text),
    Column("shelved_until", UtcTime),
    Column("shelved_by", Text),
    Column("escalations", Integer, nullable=False),
    Column("repeats", Integer, nullable=False),
    Column("value", Double),  # of the reading that was oddest
    Column("score", Double),
    Column("threshold", Double),
    Column("limit", Double),  # the critical limit that will be crossed, the range that was left
    Column("crosses_at", UtcTime),
    Column("probability", Double),
    Column("reason", Text, nullable=False),
    Column("reason_data", Text),
    Column("model_version", Text, nullable=False),
    Column("verdict", Text),  # confirm, false or maintenance
    Column("verdict_at", UtcTime),
    Column("verdict_by", Text),
    Column("note", Text),
    Column("group_id", Integer),  # the alert that stands for the flood this one is part of
    Column("changed_at", UtcTime, nullable=False),
    Column("revision", Integer, nullable=False),
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

alert_changes = Table(
    "alert_changes",
    metadata,
    Column("alert_id", Integer, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("change", Text, nullable=False),
    Column("at", UtcTime, nullable=False),  # by the readings' clock
    Column("recorded_at", UtcTime, nullable=False),  # when we came to know
    Column("severity", Integer, nullable=False),
    Column("by", Text),
    Column("detail", Text),
)
Index("alert_changes_by_time", alert_changes.c.at)

# How far each sensor has been looked at, and what is on its way to become an alert.
alert_watches = Table(
    "alert_watches",
    metadata,
    Column("type", Text, primary_key=True),
    Column("sensor_id", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("seen", UtcTime),
    Column("pending", JSON, nullable=False),
)

# One row a change and channel that is to be told of it; the channel's name only, never its address.
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

# When somebody works on a sensor, or on a whole platform: no alert begins then, and nothing is learned.
maintenance = Table(
    "maintenance",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sensor_id", Text),
    Column("platform", Text),
    Column("alert_id", Integer),  # the alert whose verdict says so
    Column("start", UtcTime, nullable=False),
    Column("end", UtcTime, nullable=False),
    Column("reason", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("made_at", UtcTime, nullable=False),
    sqlite_autoincrement=True,
)
Index("maintenance_by_end", maintenance.c.end)

# Each sensor's part of the alarm budget, and the score from which an anomaly is an alert.
alert_thresholds = Table(
    "alert_thresholds",
    metadata,
    Column("sensor_id", Text, primary_key=True),
    Column("severity", Integer, primary_key=True),
    Column("threshold", Double, nullable=False),
    Column("per_day", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("reason_data", Text),
    Column("made_at", UtcTime, nullable=False),
)

# A scheduled job is done once for each time it is due, by whichever scheduler writes its row first.
job_runs = Table(
    "job_runs",
    metadata,
    Column("job", Text, primary_key=True),
    Column("due_at", UtcTime, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("status", Text, nullable=False),
    Column("missed", Integer, nullable=False),  # times it was due before, and nobody ran it
    Column("detail", Text),
)
Index("job_runs_by_start", job_runs.c.started_at)
