"""Alerts, their changes and notifications; maintenance, alarm budget and runs of scheduled jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

TABLES = ("alerts", "alert_changes", "alert_watches", "outbox", "maintenance", "alert_thresholds", "job_runs")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "alerts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("sensor_id", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("platform", sa.Text, nullable=False),
        sa.Column("severity", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("began_at", sa.DateTime, nullable=False),
        sa.Column("opened_at", sa.DateTime, nullable=False),
        sa.Column("last_at", sa.DateTime, nullable=False),
        sa.Column("returned_at", sa.DateTime),
        sa.Column("closed_at", sa.DateTime),
        sa.Column("waiting_since", sa.DateTime),
        sa.Column("acknowledged_at", sa.DateTime),
        sa.Column("acknowledged_by", sa.Text),
        sa.Column("shelved_until", sa.DateTime),
        sa.Column("shelved_by", sa.Text),
        sa.Column("escalations", sa.Integer, nullable=False),
        sa.Column("repeats", sa.Integer, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("score", sa.Double),
        sa.Column("threshold", sa.Double),
        sa.Column("limit", sa.Double),
        sa.Column("crosses_at", sa.DateTime),
        sa.Column("probability", sa.Double),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text),
        sa.Column("verdict_at", sa.DateTime),
        sa.Column("verdict_by", sa.Text),
        sa.Column("note", sa.Text),
        sa.Column("group_id", sa.Integer),
        sa.Column("changed_at", sa.DateTime, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("alerts_by_time", "alerts", ["opened_at"])
    op.create_index(
        "alerts_alive",
        "alerts",
        ["type", "sensor_id", "subject"],
        unique=True,
        postgresql_where=sa.text("state <> 'closed'"),
        sqlite_where=sa.text("state <> 'closed'"),
    )
    op.create_table(
        "alert_changes",
        sa.Column("alert_id", sa.Integer, primary_key=True),
        sa.Column("revision", sa.Integer, primary_key=True),
        sa.Column("change", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("recorded_at", sa.DateTime, nullable=False),
        sa.Column("severity", sa.Integer, nullable=False),
        sa.Column("by", sa.Text),
        sa.Column("detail", sa.Text),
    )
    op.create_index("alert_changes_by_time", "alert_changes", ["at"])
    op.create_table(
        "alert_watches",
        sa.Column("type", sa.Text, primary_key=True),
        sa.Column("sensor_id", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("seen", sa.DateTime),
        sa.Column("pending", sa.JSON, nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("alert_id", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("message", sa.JSON, nullable=False),
        sa.Column("made_at", sa.DateTime, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.DateTime, nullable=False),
        sa.Column("sent_at", sa.DateTime),
        sa.Column("given_up_at", sa.DateTime),
        sa.Column("error", sa.Text),
        sa.UniqueConstraint("alert_id", "revision", "channel", name="outbox_once"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "outbox_waiting",
        "outbox",
        ["channel", "id"],
        postgresql_where=sa.text("sent_at IS NULL AND given_up_at IS NULL"),
        sqlite_where=sa.text("sent_at IS NULL AND given_up_at IS NULL"),
    )
    op.create_table(
        "maintenance",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("sensor_id", sa.Text),
        sa.Column("platform", sa.Text),
        sa.Column("alert_id", sa.Integer),
        sa.Column("start", sa.DateTime, nullable=False),
        sa.Column("end", sa.DateTime, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("made_by", sa.Text, nullable=False),
        sa.Column("made_at", sa.DateTime, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("maintenance_by_end", "maintenance", ["end"])
    op.create_table(
        "alert_thresholds",
        sa.Column("sensor_id", sa.Text, primary_key=True),
        sa.Column("severity", sa.Integer, primary_key=True),
        sa.Column("threshold", sa.Double, nullable=False),
        sa.Column("per_day", sa.Double, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("made_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "job_runs",
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("due_at", sa.DateTime, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("started_at", sa.DateTime, nullable=False),
        sa.Column("ended_at", sa.DateTime),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("missed", sa.Integer, nullable=False),
        sa.Column("detail", sa.Text),
    )
    op.create_index("job_runs_by_start", "job_runs", ["started_at"])


def downgrade() -> None:
    """Drop the tables with the history of all alerts."""
    for table in reversed(TABLES):
        op.drop_table(table)
