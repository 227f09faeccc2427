"""Targets, workloads, models, runs, trials, and the best derived from them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

DIGEST = sa.LargeBinary(32)
IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

SQLITE_TRIGGERS = (
    "CREATE TRIGGER trial_no_update BEFORE UPDATE ON trial "
    "BEGIN SELECT RAISE(ABORT, 'trials are append-only'); END",
    "CREATE TRIGGER trial_no_delete BEFORE DELETE ON trial "
    "BEGIN SELECT RAISE(ABORT, 'trials are append-only'); END",
)
POSTGRESQL_TRIGGERS = (
    "CREATE FUNCTION trial_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'trials are append-only'; END $$",
    "CREATE TRIGGER trial_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON trial "
    "FOR EACH STATEMENT EXECUTE FUNCTION trial_is_append_only()",
)


def upgrade() -> None:
    op.create_table(
        "target",
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_target"),
    )
    op.create_table(
        "workload",
        sa.Column("id", IDENTITY, nullable=False),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("family_digest", DIGEST, nullable=False),
        sa.Column("skeleton_digest", DIGEST, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("placement", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workload"),
        sa.UniqueConstraint("digest", name="uq_workload_digest"),
        sa.CheckConstraint("kind IN ('kernel', 'graph', 'foreign')", name=op.f("ck_workload_kind")),
    )
    op.create_index("ix_workload_family_digest", "workload", ["family_digest"])
    op.create_index("ix_workload_skeleton_digest", "workload", ["skeleton_digest"])
    op.create_table(
        "model",
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_model"),
    )
    _create_run()
    _create_trial()
    op.create_table(
        "effort",
        sa.Column("run_id", IDENTITY, nullable=False),
        sa.Column("workload_id", IDENTITY, nullable=False),
        sa.Column("trials_budget", sa.BigInteger, nullable=False),
        sa.Column("regret_estimate", sa.Double),
        sa.PrimaryKeyConstraint("run_id", "workload_id", name="pk_effort"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_effort_run_id"),
        sa.ForeignKeyConstraint(["workload_id"], ["workload.id"], name="fk_effort_workload_id"),
    )
    op.create_index("ix_effort_workload_id", "effort", ["workload_id"])
    _create_best()
    for statement in SQLITE_TRIGGERS if op.get_bind().dialect.name == "sqlite" else POSTGRESQL_TRIGGERS:
        op.execute(statement)


def _create_run() -> None:
    op.create_table(
        "run",
        sa.Column("id", IDENTITY, nullable=False),
        sa.Column("uid", sa.String(64), nullable=False),
        sa.Column("model_digest", DIGEST),
        sa.Column("target_digest", DIGEST, nullable=False),
        sa.Column("toolchain", sa.String(100), nullable=False),
        sa.Column("objective", sa.String(16), nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("device", sa.String(200), nullable=False),
        sa.Column("tuner_version", sa.String(100), nullable=False),
        sa.Column("trials_budget", sa.BigInteger, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("versions", sa.Text, nullable=False),
        sa.Column("job", sa.String(64)),
        sa.Column("started_at_s", sa.Double, nullable=False),
        sa.Column("finished_at_s", sa.Double),
        sa.Column("stop_reason", sa.Text, nullable=False),
        sa.Column("regret_estimate", sa.Double),
        sa.Column("imported", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("hidden_at_s", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
        sa.UniqueConstraint("uid", name="uq_run_uid"),
        sa.ForeignKeyConstraint(["model_digest"], ["model.digest"], name="fk_run_model_digest"),
        sa.ForeignKeyConstraint(["target_digest"], ["target.digest"], name="fk_run_target_digest"),
        sa.CheckConstraint(
            "objective IN ('latency', 'energy', 'memory', 'edp')", name=op.f("ck_run_objective")
        ),
    )
    op.create_index("ix_run_model_digest", "run", ["model_digest"])
    op.create_index("ix_run_target_digest", "run", ["target_digest"])
    op.create_index("ix_run_job", "run", ["job"])


def _create_trial() -> None:
    op.create_table(
        "trial",
        sa.Column("id", IDENTITY, nullable=False),
        sa.Column("run_id", IDENTITY, nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("workload_id", IDENTITY, nullable=False),
        sa.Column("space_digest", DIGEST, nullable=False),
        sa.Column("config_digest", DIGEST, nullable=False),
        sa.Column("config", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("latency_us", sa.Double),
        sa.Column("samples_us", sa.Text, nullable=False),
        sa.Column("latency_cycles", sa.Double),
        sa.Column("energy_uj", sa.Double),
        sa.Column("peak_bytes", sa.BigInteger),
        sa.Column("bound_us", sa.Double),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("worker", sa.String(200), nullable=False),
        sa.Column("verification", sa.String(16), nullable=False),
        sa.Column("imported", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("created_at_s", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_trial"),
        sa.UniqueConstraint(
            "run_id", "purpose", "number", "attempt", name="uq_trial_run_id_purpose_number_attempt"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_trial_run_id"),
        sa.ForeignKeyConstraint(["workload_id"], ["workload.id"], name="fk_trial_workload_id"),
        sa.CheckConstraint("purpose IN ('search', 'canary', 'confirmation')", name=op.f("ck_trial_purpose")),
        sa.CheckConstraint(
            "status IN ('ok', 'invalid', 'failed', 'wrong', 'timeout', 'lost')", name=op.f("ck_trial_status")
        ),
        sa.CheckConstraint(
            "(status = 'ok') = (latency_us IS NOT NULL)", name=op.f("ck_trial_ok_has_latency")
        ),
        sa.CheckConstraint("latency_us > 0 AND latency_us < 1e300", name=op.f("ck_trial_latency")),
        sa.CheckConstraint(
            "verification IN ('none', 'value-exact', 'sampled', 'foreign')",
            name=op.f("ck_trial_verification"),
        ),
    )
    op.create_index("ix_trial_workload_id", "trial", ["workload_id"])


def _create_best() -> None:
    op.create_table(
        "best",
        sa.Column("workload_digest", DIGEST, nullable=False),
        sa.Column("target_digest", DIGEST, nullable=False),
        sa.Column("toolchain", sa.String(100), nullable=False),
        sa.Column("objective", sa.String(16), nullable=False),
        sa.Column("config", sa.Text, nullable=False),
        sa.Column("space_digest", DIGEST, nullable=False),
        sa.Column("latency_us", sa.Double, nullable=False),
        sa.Column("bound_us", sa.Double),
        sa.Column("energy_uj", sa.Double),
        sa.Column("peak_bytes", sa.BigInteger),
        sa.Column("latency_cycles", sa.Double),
        sa.Column("verification", sa.String(16), nullable=False),
        sa.Column("confirmations", sa.Integer, nullable=False),
        sa.Column("run", sa.String(64), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("workload_digest", "target_digest", "toolchain", "objective", name="pk_best"),
        sa.ForeignKeyConstraint(["workload_digest"], ["workload.digest"], name="fk_best_workload_digest"),
        sa.ForeignKeyConstraint(["target_digest"], ["target.digest"], name="fk_best_target_digest"),
    )
