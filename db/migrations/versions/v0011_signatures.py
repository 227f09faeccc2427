"""Signatures over trials, and the keys that are trusted to sign them."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "signature",
        sa.Column("trial_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("signer", sa.LargeBinary(32), nullable=False),
        sa.Column("signature", sa.String(128), nullable=False),
        sa.Column("vouched", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name="fk_signature_trial_id"),
        sa.PrimaryKeyConstraint("trial_id", "signer", "signature", name="pk_signature"),
    )
    op.create_table(
        "trusted_key",
        sa.Column("signer", sa.LargeBinary(32), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("devices", sa.Text, nullable=False),
        sa.Column("share", sa.Double, nullable=False),
        sa.Column("trusted_at_s", sa.Double, nullable=False),
        sa.Column("revoked_at_s", sa.Double),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("signer", name="pk_trusted_key"),
    )
