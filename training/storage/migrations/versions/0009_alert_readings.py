"""Alerts with the readings behind them: first, newest and worst, normal band, new level; details as data.

Alerts stored before have none of these readings. The details of verdicts, until now only texts, become data.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

VERDICTS = ("confirm", "false", "maintenance")  # of 0.1.0


def upgrade() -> None:
    """Add the columns, and the data of stored verdicts."""
    op.add_column("alerts", sa.Column("settled_at", sa.DateTime))
    op.add_column("alerts", sa.Column("settled_level", sa.Double))
    op.add_column("alerts", sa.Column("notified", sa.Boolean, nullable=False, server_default=sa.true()))
    op.add_column("alerts", sa.Column("observed", sa.JSON))
    op.add_column("alert_changes", sa.Column("reason_data", sa.Text))
    changes = sa.table(
        "alert_changes",
        *(sa.column(name) for name in ("alert_id", "revision", "change", "detail", "reason_data")),
    )
    connection = op.get_bind()
    judged = connection.execute(sa.select(changes).where(changes.c.change == "judged")).all()
    for row in judged:
        verdict, _, note = (row.detail or "").partition(": ")
        if verdict not in VERDICTS:
            continue
        reason = {"code": "action_verdict", "verdict": verdict}
        if note:
            reason |= {"code": "action_verdict_note", "note": note}
        connection.execute(
            changes.update()
            .where(changes.c.alert_id == row.alert_id, changes.c.revision == row.revision)
            .values(reason_data=json.dumps([reason], ensure_ascii=False))
        )


def downgrade() -> None:
    """Drop the columns; the texts stay."""
    op.drop_column("alert_changes", "reason_data")
    for name in ("observed", "notified", "settled_level", "settled_at"):
        op.drop_column("alerts", name)
