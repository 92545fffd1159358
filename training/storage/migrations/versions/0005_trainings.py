"""Trainings that were started on the dashboard, and the outcome of each model."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "trainings",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("asked", sa.JSON, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("started_at", sa.DateTime, nullable=False),
        sa.Column("started_by", sa.Text, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("finished_at", sa.DateTime),
        sa.Column("error", sa.Text),
    )
    op.create_table(
        "training_outcomes",
        sa.Column("training_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sensor_id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("version", sa.Integer),
        sa.Column("gate", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("at", sa.DateTime, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the tables; runs and versions are stored by MLflow and stay."""
    op.drop_table("training_outcomes")
    op.drop_table("trainings")
