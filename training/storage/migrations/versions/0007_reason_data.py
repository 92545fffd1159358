"""Reasons as data: a column of JSON beside each text column that gives a reason.

Rows written before have the text only.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

TABLES = ("ml_predictions", "drift_checks", "alerts", "alert_thresholds")


def upgrade() -> None:
    """Add the columns."""
    for table in TABLES:
        op.add_column(table, sa.Column("reason_data", sa.Text))


def downgrade() -> None:
    """Drop the columns; the texts stay."""
    for table in TABLES:
        op.drop_column(table, "reason_data")
