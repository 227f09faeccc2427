"""The tables, one set of models for SQLite and PostgreSQL.

Every field that queries filter by is a column. Trials are append-only: triggers refuse UPDATE and DELETE on
both databases. `best` is derived from `trial` and can be rebuilt at any time.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    literal_column,
    true,
)

from tilewright.db.storage.columns import Digest, Identity, database_clock
from tilewright.db.storage.seal import UNSEALED
from tilewright.measure.objectives import Objective

SCHEMA_VERSION = "0011"
VERSION_TABLE = "tilewright_version"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

UNUSUAL_STATUS = literal_column("status") != literal_column("'ok'")
UNUSUAL_PURPOSE = literal_column("purpose") != literal_column("'search'")
"""The records that few ask for: an index holds these alone, and serves the questions that say so.

An index of all of them would serve also where the workload is known, and a planner without statistics takes
either for the better one.
"""

target = Table(
    "target",
    metadata,
    Column("digest", Digest, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("text", Text, nullable=False),
)

workload = Table(
    "workload",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("digest", Digest, nullable=False, unique=True),
    Column("family_digest", Digest, nullable=False, index=True),
    Column("skeleton_digest", Digest, nullable=False, index=True),
    Column("first_half_digest", Digest, index=True),
    Column("second_half_digest", Digest, index=True),
    Column("kind", String(16), nullable=False),
    Column("placement", Text, nullable=False),
    Column("body", Text, nullable=False),
    CheckConstraint("kind IN ('kernel', 'graph', 'foreign')", name="kind"),
)

model = Table(
    "model",
    metadata,
    Column("digest", Digest, primary_key=True),
    Column("name", String(200), nullable=False),
)

run = Table(
    "run",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("uid", String(64), nullable=False, unique=True),
    Column("model_digest", Digest, ForeignKey("model.digest"), index=True),
    Column("target_digest", Digest, ForeignKey("target.digest"), nullable=False, index=True),
    Column("toolchain", String(100), nullable=False),
    Column("objective", String(16), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("device", String(200), nullable=False),
    Column("protocol", String(200), nullable=False, server_default=""),
    Column("tuner_version", String(100), nullable=False),
    Column("trials_budget", BigInteger, nullable=False),
    Column("settings", Text, nullable=False),
    Column("versions", Text, nullable=False),
    Column("job", String(64), index=True),
    Column("started_at_s", Double, nullable=False, default=database_clock()),
    Column("finished_at_s", Double),
    Column("stop_reason", Text, nullable=False, default=""),
    Column("regret_estimate", Double),
    Column("imported", Boolean, nullable=False, server_default=false()),
    Column("hidden_at_s", Double),
    Column("holder", String(200), nullable=False, server_default=""),
    Column("lease_token", BigInteger, nullable=False, server_default="0"),
    Column("lease_until_s", Double),
    Column("lease_s", Double),
    CheckConstraint(f"objective IN ({', '.join(repr(str(each)) for each in Objective)})", name="objective"),
)

trial = Table(
    "trial",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("run_id", Identity, ForeignKey("run.id"), nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("workload_id", Identity, ForeignKey("workload.id"), nullable=False, index=True),
    Column("space_digest", Digest, nullable=False),
    Column("config_digest", Digest, nullable=False),
    Column("config", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("latency_us", Double),
    Column("samples_us", Text, nullable=False),
    Column("latency_cycles", Double),
    Column("energy_uj", Double),
    Column("peak_bytes", BigInteger),
    Column("bound_us", Double),
    Column("seed", BigInteger, nullable=False),
    Column("worker", String(200), nullable=False),
    Column("verification", String(16), nullable=False),
    Column("is_default", Boolean, nullable=False, server_default=false()),
    Column("imported", Boolean, nullable=False, server_default=false()),
    Column("created_at_s", Double, nullable=False, default=database_clock()),
    Column("seal", BigInteger),  # seal.py
    UniqueConstraint("run_id", "purpose", "number", "attempt"),
    CheckConstraint("purpose IN ('search', 'canary', 'confirmation')", name="purpose"),
    CheckConstraint("status IN ('ok', 'invalid', 'failed', 'wrong', 'timeout', 'lost')", name="status"),
    CheckConstraint("(status = 'ok') = (latency_us IS NOT NULL)", name="ok_has_latency"),
    CheckConstraint("latency_us > 0 AND latency_us < 1e300", name="latency"),
    CheckConstraint("verification IN ('none', 'value-exact', 'sampled', 'foreign')", name="verification"),
    Index("ix_trial_status", "status", sqlite_where=UNUSUAL_STATUS, postgresql_where=UNUSUAL_STATUS),
    Index("ix_trial_purpose", "purpose", sqlite_where=UNUSUAL_PURPOSE, postgresql_where=UNUSUAL_PURPOSE),
    info={UNSEALED: ("id", "imported", "created_at_s")},
)

signature = Table(
    "signature",
    metadata,
    Column("trial_id", Identity, ForeignKey("trial.id"), primary_key=True),
    Column("signer", Digest, primary_key=True),
    Column("signature", String(128), primary_key=True),
    Column("vouched", Boolean, nullable=False, server_default=false()),
)

trusted_key = Table(
    "trusted_key",
    metadata,
    Column("signer", Digest, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("devices", Text, nullable=False),
    Column("share", Double, nullable=False),
    Column("trusted_at_s", Double, nullable=False, default=database_clock()),
    Column("revoked_at_s", Double),
    Column("reason", Text, nullable=False, server_default=""),
)

effort = Table(
    "effort",
    metadata,
    Column("run_id", Identity, ForeignKey("run.id"), primary_key=True),
    Column("workload_id", Identity, ForeignKey("workload.id"), primary_key=True),
    Column("trials_budget", BigInteger, nullable=False),
    Column("regret_estimate", Double),
    Index(None, "workload_id"),
)

best = Table(
    "best",
    metadata,
    Column("workload_digest", Digest, ForeignKey("workload.digest"), primary_key=True),
    Column("target_digest", Digest, ForeignKey("target.digest"), primary_key=True),
    Column("toolchain", String(100), primary_key=True),
    Column("objective", String(16), primary_key=True),
    Column("config", Text, nullable=False),
    Column("space_digest", Digest, nullable=False),
    Column("latency_us", Double, nullable=False),
    Column("bound_us", Double),
    Column("energy_uj", Double),
    Column("peak_bytes", BigInteger),
    Column("latency_cycles", Double),
    Column("verification", String(16), nullable=False),
    Column("confirmations", Integer, nullable=False),
    Column("run", String(64), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("seal", BigInteger),
)

selector = Table(
    "selector",
    metadata,
    Column("workload_digest", Digest, ForeignKey("workload.digest"), primary_key=True),
    Column("target_digest", Digest, ForeignKey("target.digest"), primary_key=True),
    Column("toolchain", String(100), primary_key=True),
    Column("objective", String(16), primary_key=True),
    Column("symbol", String(100), primary_key=True),
    Column("low", BigInteger, primary_key=True),
    Column("high", BigInteger, nullable=False),
    Column("config", Text, nullable=False),
    Column("space_digest", Digest, nullable=False),
    Column("measured_regret", Double),
    Column("predicted_regret", Double),
    Column("seal", BigInteger),
    CheckConstraint("low <= high", name="interval"),
)

worker = Table(
    "worker",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("device", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("first_seen_at_s", Double, nullable=False, default=database_clock()),
    Column("last_seen_at_s", Double, nullable=False, default=database_clock()),
    CheckConstraint("state IN ('healthy', 'quarantined')", name="state"),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("secret_digest", Digest, nullable=False, unique=True),
    Column("tenant", String(100), nullable=False),
    Column("name", String(200), nullable=False),
    Column("can_read", Boolean, nullable=False),
    Column("can_submit", Boolean, nullable=False),
    Column("can_admin", Boolean, nullable=False),
    Column("created_at_s", Double, nullable=False, default=database_clock()),
    Column("revoked_at_s", Double),
)

upload = Table(
    "upload",
    metadata,
    Column("digest", Digest, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("symbols", Text),
    Column("kept", Boolean, nullable=False, server_default=true()),
    Column("used_at_s", Double, nullable=False, server_default="0"),
)

upload_part = Table(
    "upload_part",
    metadata,
    Column("digest", Digest, ForeignKey("upload.digest"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
)

tenant = Table(
    "tenant",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("turn", BigInteger, nullable=False),
)

job = Table(
    "job",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("uid", String(64), nullable=False, unique=True),
    Column("tenant", String(100), nullable=False, index=True),
    Column("state", String(16), nullable=False, index=True),
    Column("spec", Text, nullable=False),
    Column("model_name", String(100), nullable=False, server_default=""),
    Column("target_name", String(200), nullable=False, server_default=""),
    Column("objective", String(100), nullable=False, server_default=""),
    Column("trials", BigInteger, nullable=False, server_default="0"),
    Column("upload_digest", Digest, ForeignKey("upload.digest")),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("idempotency_key", String(200)),
    Column("request_digest", Digest, nullable=False),
    Column("cancel_requested", Boolean, nullable=False, server_default=false()),
    Column("runner", String(200), nullable=False, default=""),
    Column("lease_token", BigInteger, nullable=False, default=0),
    Column("lease_until_s", Double),
    Column("lease_s", Double),
    Column("attempts", Integer, nullable=False, default=0),
    Column("result", Text),
    Column("error", Text, nullable=False, default=""),
    Column("created_at_s", Double, nullable=False, default=database_clock()),
    Column("finished_at_s", Double),
    UniqueConstraint("tenant", "idempotency_key"),
    CheckConstraint("state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="state"),
)

job_event = Table(
    "job_event",
    metadata,
    Column("job_id", Identity, ForeignKey("job.id"), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at_s", Double, nullable=False, default=database_clock()),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("who", String(200), nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("address", String(100), nullable=False),
    Column("created_at_s", Double, nullable=False, default=database_clock()),
)
