"""Priorities of jobs, uploads in parts, and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

DIGEST = sa.LargeBinary(32)
IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("job", sa.Column("priority", sa.Integer, server_default="0", nullable=False))
    op.create_table(
        "upload_part",
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("digest", "number", name="pk_upload_part"),
        sa.ForeignKeyConstraint(["digest"], ["upload.digest"], name="fk_upload_part_digest"),
    )
    op.execute("INSERT INTO upload_part (digest, number, content) SELECT digest, 0, content FROM upload")
    op.drop_column("upload", "content")
    op.create_table(
        "audit",
        sa.Column("id", IDENTITY, nullable=False),
        sa.Column("tenant", sa.String(100), nullable=False),
        sa.Column("who", sa.String(200), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("address", sa.String(100), nullable=False),
        sa.Column("created_at_s", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
