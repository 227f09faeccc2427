"""Checksums of what answers: a value that changed in the file is found when it is read."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Rows of before stay without a seal, and are believed; answers get one when they are next derived."""
    for table in ("trial", "best", "selector"):
        op.add_column(table, sa.Column("seal", sa.BigInteger))
