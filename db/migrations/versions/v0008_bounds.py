"""What keeps a service within bounds: facts of jobs for lists, lengths of leases, use of uploads, turns."""

import json
import re
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

NAMED = re.compile(r"""^name\s*=\s*["']([A-Za-z0-9_.-]{1,200})["']""", re.MULTILINE)


def upgrade() -> None:
    for table in ("run", "job"):
        op.add_column(table, sa.Column("lease_s", sa.Double))
    for name, length in (("model_name", 100), ("target_name", 200), ("objective", 100)):
        op.add_column("job", sa.Column(name, sa.String(length), nullable=False, server_default=""))
    op.add_column("job", sa.Column("trials", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("upload", sa.Column("kept", sa.Boolean, nullable=False, server_default=sa.true()))
    op.add_column("upload", sa.Column("used_at_s", sa.Double, nullable=False, server_default="0"))
    op.create_table(
        "tenant",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("turn", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_tenant"),
    )
    connection = op.get_bind()
    clock = (
        "(julianday('now') - 2440587.5) * 86400.0"
        if connection.dialect.name == "sqlite"
        else "CAST(extract(epoch FROM now()) AS double precision)"
    )
    connection.execute(sa.text(f"UPDATE upload SET used_at_s = {clock}"))
    _name_jobs(connection)


def _name_jobs(connection: sa.Connection) -> None:
    put = sa.text(
        "UPDATE job SET model_name = :model, target_name = :target, objective = :goal WHERE id = :id"
    )
    last = 0
    some = sa.text("SELECT id, spec FROM job WHERE id > :last ORDER BY id LIMIT 100")
    while rows := connection.execute(some, {"last": last}).all():
        connection.execute(put, [{"id": row.id, **_names(json.loads(row.spec))} for row in rows])
        last = rows[-1].id


def _names(spec: Any) -> dict[str, str]:
    given = spec if isinstance(spec, dict) else {}
    target = str(given.get("target", ""))
    if "\n" in target or "=" in target:
        found = NAMED.search(target)
        target = found[1] if found else "own target"
    objectives = given.get("objectives") or [given.get("objective", "")]
    return {
        "model": str(given.get("model_name", ""))[:100],
        "target": target[:200],
        "goal": ",".join(map(str, objectives))[:100],
    }
