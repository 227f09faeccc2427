"""`tune doctor`: try every optional part on this machine, and print the outcome."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from tilewright.api.cli.options import JsonFile, write_json
from tilewright.api.cli.verbs import verb_app

app = verb_app()
PATIENCE_S = 120.0
"""A busy machine may take this long to start a Ray."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SANDBOX = """
import os
from tilewright.api.sandbox.confine import confine
walls = confine(1024, 10, 1)
os.write(1, f"calls {'filtered' if walls.calls else 'open'}, "
            f"files {'locked' if walls.files else 'read-only'}".encode())
os._exit(0)
"""
RAY = """
from tilewright.compiler_core.target_model.file import target_text
from tilewright.tuner.devices import simulated_pool
with simulated_pool("gemmini16", target_text("gemmini16"), 1, "local") as pool:
    pool.start()
    print(pool.info().name, "on one worker of a local Ray")
"""


@dataclass(frozen=True)
class Diagnosis:
    """One part that was tried: `state` is ok, missing or failed. `needed_for` names its users."""

    name: str
    state: str
    said: str
    needed_for: str


class AbsentError(Exception):
    """The part is not installed or not configured; this is no failure."""


@app.command()
def doctor(
    database: Annotated[
        str | None,
        typer.Option("--db", envvar="TILEWRIGHT_DATABASE", help="Also try this database."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave Ray out, which takes the longest.")] = False,
    json_file: JsonFile = None,
) -> int:
    """Try every part of Tilewright on this machine, and print which work. Exit code 1 when one fails."""
    findings = []
    for name, needed_for, check in checks(database, quick):
        found = tried(name, needed_for, check)
        findings.append(found)
        if json_file != "-":
            typer.echo(f"{found.state:<8} {found.name:<12} {found.said}")
            if found.state != "ok":
                typer.echo(f"{'':21} needed for {found.needed_for}")
    if json_file is not None:
        write_json({"checks": [asdict(found) for found in findings]}, json_file)
    return 1 if any(found.state == "failed" for found in findings) else 0


def tried(name: str, needed_for: str, check: Callable[[], str]) -> Diagnosis:
    """The outcome of a check; an exception becomes the outcome `failed`."""
    try:
        return Diagnosis(name, "ok", check(), needed_for)
    except AbsentError as absent:
        return Diagnosis(name, "missing", str(absent), needed_for)
    except Exception as error:  # every failure is a finding  # noqa: BLE001
        text = " ".join(str(error).split())[:200]
        return Diagnosis(name, "failed", f"{type(error).__name__}: {text}", needed_for)


def checks(database: str | None, quick: bool) -> list[tuple[str, str, Callable[[], str]]]:
    """Name, what needs it, and how it is tried."""
    found = [
        ("cores", "everything", _cores),
        ("libraries", "everything", _libraries),
        ("simulator", "measuring on described chips", _simulator),
        ("database", "keeping answers in a file", _sqlite),
        ("PostgreSQL", "a database that many hosts share", lambda: _postgres(database)),
        ("host codegen", "--target host", _codegen),
        ("sandbox", "tune serve: models that others send", lambda: _child(SANDBOX)),
        ("browser", "looking at reports, and the tests of the dashboard", _browser),
    ]
    if not quick:
        found.append(("Ray", "measuring on several cores or hosts", lambda: _child(RAY)))
    return found


def _cores() -> str:
    usable, present = len(os.sched_getaffinity(0)), os.cpu_count() or 0
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{usable} of {present}, {pages / 2**30:.0f} GiB of memory, load {os.getloadavg()[0]:.1f}"


def _libraries() -> str:
    from importlib.metadata import version

    names = ("numpy", "onnx", "onnxruntime", "optuna", "xgboost", "ray", "sqlalchemy")
    return f"Python {sys.version.split()[0]}, " + ", ".join(f"{name} {version(name)}" for name in names)


def _simulator() -> str:
    from tilewright.tuner.verbs.warm import warm

    return warm()


def _sqlite() -> str:
    import tempfile

    from tilewright.db.storage.session import open_database

    with tempfile.TemporaryDirectory(dir=".") as folder:
        open_database(Path(folder) / "tried.db").close()
    return f"files can be made and locked in {Path.cwd()}"


def _postgres(database: str | None) -> str:
    from importlib.metadata import version

    if database is None or "://" not in database:
        raise AbsentError(f"psycopg {version('psycopg')} is there; --db postgresql://... tries a server")
    from tilewright.db.storage.session import open_database

    opened = open_database(database, read_only=True)
    opened.close()
    return f"{opened.name} answers"


def _codegen() -> str:
    from tilewright.compiler_core.codegen.machine.native import LLVM_VERSION, host_machine
    from tilewright.measure.host.compiler import Compiler

    machine, compiler = host_machine(), Compiler()
    try:
        made = compiler.object_of("define i32 @f() {\n ret i32 1\n}\n", machine)
    finally:
        compiler.close()
    kept = f"vectors of {machine.vector_bits} bits, {len(made)} bytes made"
    return f"LLVM {LLVM_VERSION} for {machine.cpu}, {kept}"


def _browser() -> str:
    from shutil import which

    found = next((path for name in BROWSERS if (path := which(name))), None)
    if found is None:
        raise AbsentError("no chromium here; a report is one file that any browser opens")
    return found


def _child(program: str) -> str:
    """The output of a program in a process of its own; RuntimeError with its last line where it fails."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no answer within {PATIENCE_S:g} s; this machine may be busy") from None
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it ended without a word"])[-1])
    return done.stdout.strip().splitlines()[-1]
