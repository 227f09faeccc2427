"""A PostgreSQL server of one's own for a test session: started in a temporary directory, on a Unix socket."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

USUAL_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/bin")


def find_binaries() -> Path | None:
    """The directory that holds initdb and pg_ctl: on PATH, in usual places, in the pgserver package."""
    on_path = shutil.which("initdb")
    candidates = [Path(on_path).resolve().parent] if on_path else []
    for pattern in USUAL_PLACES:
        candidates += sorted(Path("/").glob(pattern.removeprefix("/")), reverse=True)
    spec = importlib.util.find_spec("pgserver")
    if spec is not None and spec.origin is not None:
        candidates.append(Path(spec.origin).parent / "pginstall" / "bin")
    for directory in candidates:
        if (directory / "initdb").is_file() and (directory / "pg_ctl").is_file():
            return directory
    return None


@contextmanager
def running_postgres(binaries: Path) -> Iterator[str]:
    """The URL of the server's own database `postgres`; the server is gone when the block ends."""
    home = Path(tempfile.mkdtemp(prefix="tw-pg-", dir="/tmp"))  # a socket path has to stay short
    who = somebody_but_root(home)
    data = home / "data"

    def run(*command: str | Path) -> None:
        subprocess.run(command, check=True, cwd=home, stdout=subprocess.DEVNULL, **who)

    try:
        run(binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-k {home} -c listen_addresses= -c fsync=off -c max_connections=60"
        run(binaries / "pg_ctl", "-D", data, "-w", "-l", home / "log", "-o", options, "start")
        try:
            yield f"postgresql://postgres@/postgres?host={home}"
        finally:
            run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def somebody_but_root(home: Path) -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(home, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
