"""The first schema: sensors, their readings, predictions of models, and labels.

Tables are written out, not imported: a migration must not change with the code.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the four tables."""
    op.create_table(
        "sensors",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text),
        sa.Column("platform", sa.Text),
        sa.Column("type", sa.Text),
        sa.Column("unit", sa.Text),
        sa.Column("step_seconds", sa.Double),
        sa.Column("low", sa.Double),
        sa.Column("high", sa.Double),
        sa.Column("critical_low", sa.Double),
        sa.Column("critical_high", sa.Double),
        sa.Column("sentinels", sa.JSON),
        sa.Column("enabled", sa.Boolean),
    )
    op.create_table(
        "sensor_readings",
        sa.Column("sensor_id", sa.Text, primary_key=True),
        sa.Column("timestamp", sa.DateTime, primary_key=True),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("data_quality", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ml_predictions",
        sa.Column("sensor_id", sa.Text, primary_key=True),
        sa.Column("model_type", sa.Text, primary_key=True),
        sa.Column("timestamp", sa.DateTime, primary_key=True),
        sa.Column("origin", sa.DateTime, primary_key=True),
        sa.Column("model_version", sa.Text, primary_key=True),
        sa.Column("made_at", sa.DateTime, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("predicted_value", sa.Double),
        sa.Column("lower_bound", sa.Double),
        sa.Column("upper_bound", sa.Double),
        sa.Column("trend", sa.Double),
        sa.Column("anomaly_score", sa.Double),
        sa.Column("is_anomaly", sa.Boolean),
        sa.Column("threshold", sa.Double),
        sa.Column("severity", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("historical_average", sa.Double),
        sa.Column("historical_std", sa.Double),
        sqlite_with_rowid=False,
    )
    op.create_index("ml_predictions_by_time", "ml_predictions", ["timestamp"])
    op.create_index(
        "ml_predictions_anomalies",
        "ml_predictions",
        ["timestamp", "sensor_id"],
        postgresql_where=sa.text("is_anomaly"),
        sqlite_where=sa.text("is_anomaly"),
    )
    op.create_table(
        "labels",
        sa.Column("sensor_id", sa.Text, primary_key=True),
        sa.Column("start", sa.DateTime, primary_key=True),
        sa.Column("end", sa.DateTime, primary_key=True),
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("anomalous", sa.Boolean, nullable=False),
        sa.Column("made_at", sa.DateTime, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables with all rows."""
    for table in ("labels", "ml_predictions", "sensor_readings", "sensors"):
        op.drop_table(table)
