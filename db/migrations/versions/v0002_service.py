"""Jobs, uploads, API keys, workers, and the selectors of dynamic shapes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

DIGEST = sa.LargeBinary(32)
IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "selector",
        sa.Column("workload_digest", DIGEST, nullable=False),
        sa.Column("target_digest", DIGEST, nullable=False),
        sa.Column("toolchain", sa.String(100), nullable=False),
        sa.Column("objective", sa.String(16), nullable=False),
        sa.Column("symbol", sa.String(100), nullable=False),
        sa.Column("low", sa.BigInteger, nullable=False),
        sa.Column("high", sa.BigInteger, nullable=False),
        sa.Column("config", sa.Text, nullable=False),
        sa.Column("space_digest", DIGEST, nullable=False),
        sa.Column("measured_regret", sa.Double),
        sa.Column("predicted_regret", sa.Double),
        sa.PrimaryKeyConstraint(
            "workload_digest",
            "target_digest",
            "toolchain",
            "objective",
            "symbol",
            "low",
            name="pk_selector",
        ),
        sa.ForeignKeyConstraint(["workload_digest"], ["workload.digest"], name="fk_selector_workload_digest"),
        sa.ForeignKeyConstraint(["target_digest"], ["target.digest"], name="fk_selector_target_digest"),
        sa.CheckConstraint("low <= high", name=op.f("ck_selector_interval")),
    )
    op.create_table(
        "worker",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("device", sa.String(200), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("first_seen_at_s", sa.Double, nullable=False),
        sa.Column("last_seen_at_s", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_worker"),
        sa.CheckConstraint("state IN ('healthy', 'quarantined')", name=op.f("ck_worker_state")),
    )
    op.create_table(
        "api_key",
        sa.Column("id", IDENTITY, nullable=False),
        sa.Column("secret_digest", DIGEST, nullable=False),
        sa.Column("tenant", sa.String(100), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("can_read", sa.Boolean, nullable=False),
        sa.Column("can_submit", sa.Boolean, nullable=False),
        sa.Column("can_admin", sa.Boolean, nullable=False),
        sa.Column("created_at_s", sa.Double, nullable=False),
        sa.Column("revoked_at_s", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.UniqueConstraint("secret_digest", name="uq_api_key_secret_digest"),
    )
    op.create_table(
        "upload",
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_upload"),
    )
    _create_job()


def _create_job() -> None:
    op.create_table(
        "job",
        sa.Column("id", IDENTITY, nullable=False),
        sa.Column("uid", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(100), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("upload_digest", DIGEST),
        sa.Column("idempotency_key", sa.String(200)),
        sa.Column("request_digest", DIGEST, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("runner", sa.String(200), nullable=False),
        sa.Column("lease_token", sa.BigInteger, nullable=False),
        sa.Column("lease_until_s", sa.Double),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("created_at_s", sa.Double, nullable=False),
        sa.Column("finished_at_s", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
        sa.UniqueConstraint("uid", name="uq_job_uid"),
        sa.UniqueConstraint("tenant", "idempotency_key", name="uq_job_tenant_idempotency_key"),
        sa.ForeignKeyConstraint(["upload_digest"], ["upload.digest"], name="fk_job_upload_digest"),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name=op.f("ck_job_state")
        ),
    )
    op.create_index("ix_job_tenant", "job", ["tenant"])
    op.create_index("ix_job_state", "job", ["state"])
    op.create_table(
        "job_event",
        sa.Column("job_id", IDENTITY, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at_s", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_job_event"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_job_event_job_id"),
    )
