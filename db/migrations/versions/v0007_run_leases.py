"""Leases of runs: who works on one, and until when nobody else may. Runs of before are held by nobody."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("run", sa.Column("holder", sa.String(200), nullable=False, server_default=""))
    op.add_column("run", sa.Column("lease_token", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("run", sa.Column("lease_until_s", sa.Double))
