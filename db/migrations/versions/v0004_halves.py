"""Workloads findable by either half of their values, to explain a miss at any size of the database."""

import sqlalchemy as sa
from alembic import op

from tilewright.db.storage.near import half_digests, skeleton_digest

revision = "0004"
down_revision = "0003"

DIGEST = sa.LargeBinary(32)
ROWS_AT_A_TIME = 2_000


def upgrade() -> None:
    for name in ("first_half_digest", "second_half_digest"):
        op.add_column("workload", sa.Column(name, DIGEST))
    _fill(op.get_bind())
    for name in ("first_half_digest", "second_half_digest"):
        op.create_index(f"ix_workload_{name}", "workload", [name])


def _fill(connection: sa.Connection) -> None:
    last = 0
    select = sa.text("SELECT id, kind, body FROM workload WHERE id > :last ORDER BY id LIMIT :most")
    update = sa.text(
        "UPDATE workload SET first_half_digest = :one, second_half_digest = :two, skeleton_digest = :form "
        "WHERE id = :id"
    )
    while rows := connection.execute(select, {"last": last, "most": ROWS_AT_A_TIME}).all():
        values = []
        for row in rows:
            one, two = half_digests(row.kind, row.body)
            form = skeleton_digest(row.kind, row.body)
            digests = {"one": one, "two": two, "form": form}
            values.append({"id": row.id} | {name: bytes.fromhex(each) for name, each in digests.items()})
        connection.execute(update, values)
        last = rows[-1].id
