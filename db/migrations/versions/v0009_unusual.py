"""Records that did not succeed, and those of canaries and confirmations, found without reading the others."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    for column, usual in (("status", "ok"), ("purpose", "search")):
        unusual = sa.text(f"{column} <> '{usual}'")
        op.create_index(
            f"ix_trial_{column}", "trial", [column], sqlite_where=unusual, postgresql_where=unusual
        )
