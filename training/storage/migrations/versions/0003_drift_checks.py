"""Drift checks: the result of each comparison of new readings with a model's training window."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "drift_checks",
        sa.Column("sensor_id", sa.Text, primary_key=True),
        sa.Column("model_type", sa.Text, primary_key=True),
        sa.Column("checked_at", sa.DateTime, primary_key=True),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("train_start", sa.DateTime),
        sa.Column("train_end", sa.DateTime),
        sa.Column("start", sa.DateTime, nullable=False),
        sa.Column("end", sa.DateTime, nullable=False),
        sa.Column("readings", sa.Integer, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("kind", sa.Text),
        sa.Column("origin", sa.Text),
        sa.Column("since", sa.DateTime),
        sa.Column("p_value", sa.Double),
        sa.Column("false_alarm_rate", sa.Double, nullable=False),
        sa.Column("cost", sa.Double),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("advice", sa.Text),
        sa.Column("measures", sa.JSON, nullable=False),
        sa.Column("quality", sa.JSON, nullable=False),
        sa.Column("run_id", sa.Text),
        sqlite_with_rowid=False,
    )
    op.create_index("drift_checks_by_time", "drift_checks", ["checked_at"])


def downgrade() -> None:
    """Drop the table with the history of all checks."""
    op.drop_table("drift_checks")
