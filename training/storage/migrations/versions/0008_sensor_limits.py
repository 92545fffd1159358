"""Warning limits and the permitted rate of change of a sensor.

A table of sensors that another system maintains, or a view of one, is left as it is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

COLUMNS = ("warning_low", "warning_high", "max_rate")


def upgrade() -> None:
    """Add the columns."""
    for name in COLUMNS:
        if is_table() and name not in column_names():
            op.add_column("sensors", sa.Column(name, sa.Double))


def downgrade() -> None:
    """Drop the columns with their limits."""
    for name in COLUMNS:
        if is_table() and name in column_names():
            op.drop_column("sensors", name)


def is_table() -> bool:
    """Whether `sensors` is a table and not a view."""
    return "sensors" in sa.inspect(op.get_bind()).get_table_names()


def column_names() -> set[str]:
    """The columns of `sensors`."""
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns("sensors")}
