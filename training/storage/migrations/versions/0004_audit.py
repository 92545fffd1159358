"""The audit: who changed what, and when."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table and its indexes."""
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("sensor_id", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("version", sa.Integer),
        sa.Column("detail", sa.JSON, nullable=False),
    )
    op.create_index("audit_by_subject", "audit", ["subject", "id"])
    op.create_index("audit_by_sensor", "audit", ["sensor_id", "id"])


def downgrade() -> None:
    """Drop the table with the history of all changes."""
    op.drop_table("audit")
