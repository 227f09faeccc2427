"""Settings of the service: environment over file over defaults, each described where it is defined.

A setting `max_upload_mb` is TILEWRIGHT_MAX_UPLOAD_MB in the environment and `max_upload_mb = 256` in the TOML
file that `--config` or TILEWRIGHT_CONFIG names. docs/service.md lists them all, and a test keeps it so.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.files.inputs import open_regular
from tilewright.db.service.retention import DAY_S, Keep

PREFIX = "TILEWRIGHT_"


def _setting(default: Any, what: str) -> Any:
    return field(default=default, metadata={"what": what})


@dataclass(frozen=True)
class Settings:
    """Everything that can be set; sizes and times carry their units."""

    database: str = _setting("tilewright.db", "path of a SQLite file, or postgresql://user@host/name")
    host: str = _setting("127.0.0.1", "address to listen on; beyond loopback an API key has to exist")
    port: int = _setting(8757, "port to listen on")
    workers: int = _setting(2, "measuring workers of a runner's own Ray")
    ray: str = _setting("local", "`local`, HOST:PORT of a Ray cluster, or `none`: in the runner itself")
    lease_s: float = _setting(8.0, "time that a job stays with a runner without a heartbeat")
    max_upload_mb: int = _setting(512, "largest model file")
    max_uploads: int = _setting(16, "uploads at the same time; more wait, then get 503 with Retry-After")
    max_uploads_each: int = _setting(4, "uploads at the same time of one key, and of one address")
    upload_idle_s: float = _setting(10.0, "longest pause inside a request's body")
    upload_least_kb_per_s: float = _setting(16.0, "lowest rate of a body, on average after `upload_idle_s`")
    upload_total_s: float = _setting(600.0, "longest time for a request's body")
    header_s: float = _setting(10.0, "longest time for a request's headers")
    rate_per_s: float = _setting(200.0, "requests per second of one key, on average")
    rate_burst: int = _setting(400, "requests of one key at once")
    failures_per_minute: float = _setting(30.0, "wrong keys from one address before it has to wait")
    max_streams: int = _setting(64, "event streams open at the same time")
    max_streams_each: int = _setting(16, "event streams of one key, and of one address")
    model_memory_mb: int = _setting(1024, "memory for reading a model")
    model_s: float = _setting(8.0, "time for reading a model")
    model_readers: int = _setting(3, "models read at the same time")
    quota_jobs: int = _setting(1000, "waiting and running jobs of one tenant")
    quota_trials: int = _setting(10_000_000, "trials of these jobs together")
    quota_models_mb: int = _setting(8192, "models stored for one tenant's jobs")
    quota_priority: int = _setting(100, "highest priority of a job")
    keep_jobs_days: float = _setting(90.0, "ended jobs, with their events and results")
    keep_models_days: float = _setting(7.0, "models that no job waits for, after their last use")
    keep_audit_days: float = _setting(365.0, "entries of the audit log")
    keep_workers_days: float = _setting(30.0, "workers, after they were last seen")
    most_stored_mb: int = _setting(20480, "models and results together; the longest unused go first")
    sweep_every_s: float = _setting(3600.0, "time between two sweeps of expired rows and files")
    database_threads: int = _setting(6, "threads for the database")
    proxies: str = _setting("", "addresses of proxies whose X-Forwarded-For is used")
    allowed_hosts: str = _setting("", "names under which browsers reach the service, separated by commas")
    demand: str = _setting("auto", "file of the counts of lookups; `auto`: beside the database, `off`: none")
    demand_sample: int = _setting(1, "N: every Nth lookup is counted, as N")
    lock: str = _setting("", "a file of `tune lock`, for `/v1/lookup?frozen=true`")
    layers: str = _setting(
        "none", "layers that `/v1/lookup` asks after this database, as in TILEWRIGHT_LAYERS; `none`: no other"
    )
    log_level: str = _setting("info", "debug, info, warning or error")
    shutdown_s: float = _setting(20.0, "time for requests and the runner to finish after SIGTERM")


def keep_of(settings: Settings) -> Keep:
    """The retention times of the settings."""
    return Keep(
        settings.keep_jobs_days * DAY_S,
        settings.keep_models_days * DAY_S,
        settings.keep_audit_days * DAY_S,
        settings.keep_workers_days * DAY_S,
        settings.most_stored_mb << 20,
    )


def load_settings(
    environment: Mapping[str, str], file: Path | None = None, **given: str | int | float | None
) -> Settings:
    """Defaults, then the file, then the environment, then what is `given` and not None.

    UsageError names the setting that is unknown or not of its kind.
    """
    named = environment.get(PREFIX + "CONFIG")
    path = file or (Path(named) if named else None)
    settings = Settings()
    if path is not None:
        settings = _with(settings, _read(path), f"settings file {path}")
    settings = _with(
        settings,
        {
            each.name: environment[PREFIX + each.name.upper()]
            for each in fields(Settings)
            if PREFIX + each.name.upper() in environment
        },
        "environment",
    )
    return _with(settings, {name: value for name, value in given.items() if value is not None}, "arguments")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with open_regular(path) as file:
            return tomllib.load(file)
    except OSError as error:
        raise UsageError(f"settings file {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"settings file {path}: not valid TOML: {error}") from None


def _with(settings: Settings, values: Mapping[str, Any], where: str) -> Settings:
    kinds = {each.name: type(each.default) for each in fields(Settings)}
    changed: dict[str, Any] = {}
    for name, value in values.items():
        if name not in kinds:
            raise UsageError(f"{where}: there is no setting {name!r}; docs/service.md lists them")
        changed[name] = _of_kind(kinds[name], value, f"{where}: {name}")
    return replace(settings, **changed)


def _of_kind(kind: type, value: Any, what: str) -> Any:
    if kind is str:
        return str(value)
    try:
        number = kind(value)
    except (TypeError, ValueError):
        raise UsageError(f"{what} is {value!r}; give a number") from None
    if not 0 <= number < float("inf"):
        raise UsageError(f"{what} is {value!r}; give a number from 0 up")
    return number
