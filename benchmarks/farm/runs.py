"""Runs that are killed, and runs at once, on a laptop's database: no trial is lost, none measured twice.

Every run is `tune run` as the command line runs it, in a fork of this process that has its imports already: a
kill then costs seconds.
"""

import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.farm.repeat import difference, listed, two_layers

Row = dict[str, Any]
LAST_S = 1.0
"""A kill at the end falls into the last second of the run."""
OF_KERNELS = (
    "SELECT count(*) FROM trial t JOIN workload w ON w.id = t.workload_id"
    " WHERE purpose = 'search' AND w.kind = 'kernel'"
)
DOUBLED = (
    "SELECT count(*) FROM (SELECT run_id, workload_id, config_digest FROM trial WHERE purpose = 'search'"
    " GROUP BY run_id, workload_id, config_digest HAVING count(*) > 1)"
)


@dataclass(frozen=True)
class Forked:
    """A run in a process of its own, and the file of what it says on standard error."""

    process: int
    said: Path

    @staticmethod
    def start(arguments: Sequence[str], said: Path) -> "Forked":
        """`tune` with these arguments."""
        process = os.fork()
        if process:
            return Forked(process, said)
        code = 70
        try:
            with said.open("a") as errors, Path(os.devnull).open("w") as nowhere:
                sys.stdout, sys.stderr = nowhere, errors
                os.dup2(errors.fileno(), 2)
                from tilewright.api.cli.main import main

                code = main(arguments)
        finally:
            os._exit(code)

    def ended(self) -> int:
        """Its exit code, once it has one; negative for a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


def killed_runs(kills: int, at_the_end: int, seed: int, trials: int = 32) -> Row:
    """`kills` runs that are killed once each, `at_the_end` of them in their last second, and started again.

    `same` counts those that end, bit for bit, with the trials, confirmations and bests of a run that nobody
    killed; `others` says of the rest what differs or how they ended.
    """
    _import_everything()
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "two_layers.onnx"
        model.write_bytes(two_layers())
        for name in ("warm", "whole"):  # the first one fills the caches of compiled code
            began_s = time.monotonic()
            _must_end(
                Forked.start(_arguments(model, Path(folder) / f"{name}.db", trials), _said(folder, name))
            )
            whole_s = time.monotonic() - began_s
        whole = listed(Path(folder) / "whole.db")
        struck, others = 0, list[str]()
        for number in range(kills):
            late = number < at_the_end
            moment_s = whole_s - LAST_S * chance.random() if late else whole_s * chance.random()
            database = Path(folder) / f"{number}.db"
            hit, ending = _kill_once(_arguments(model, database, trials), max(0.0, moment_s), folder, number)
            struck += hit
            if told := ending or difference(whole, listed(database)):
                others.append(f"kill {number} after {moment_s:.2f} s: {told}")
            database.unlink()
    return {
        "task": "killed runs",
        "kills": kills,
        "struck": struck,
        "at_the_end": at_the_end,
        "run_s": whole_s,
        "same": kills - len(others),
        "others": others,
    }


def runs_at_once(runs: int, networks: int, seed: int, trials: int = 24) -> Row:
    """`runs` runs at once on one database, of `networks` different networks in turn.

    `lost` are trials of a budget that nobody measured, `doubled` Configs that one run measured twice, or a
    second run of the network again.
    """
    _import_everything()
    with tempfile.TemporaryDirectory() as folder:
        models = [Path(folder) / f"network_{number}.onnx" for number in range(networks)]
        for number, model in enumerate(models):
            model.write_bytes(two_layers(hidden=64 + 32 * number))
        database = Path(folder) / "shared.db"
        began_s = time.monotonic()
        started = [
            Forked.start([*_arguments(model, database, trials), f"--seed={seed}"], _said(folder, str(number)))
            for number, model in enumerate(islice(cycle(models), runs))
        ]
        codes = [run.ended() for run in started]
        wall_s = time.monotonic() - began_s
        said = [run.said.read_text() for run in started]
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            kernels = connection.execute(OF_KERNELS).fetchone()[0]
            finished = connection.execute("SELECT count(*) FROM run WHERE finished_at_s > 0").fetchone()[0]
            doubled = connection.execute(DOUBLED).fetchone()[0]
    wanted = trials * min(runs, networks)
    return {
        "task": "runs at once",
        "runs": runs,
        "networks": networks,
        "wall_s": wall_s,
        "failed": sum(code != 0 for code in codes),
        "waited": sum("tunes this network" in text for text in said),
        "lost": max(0, wanted - kernels),
        "doubled": doubled + max(0, kernels - wanted) + max(0, finished - min(runs, networks)),
        "errors": [text[-400:] for text, code in zip(said, codes, strict=True) if code],
    }


def _arguments(model: Path, database: Path, trials: int) -> list[str]:
    asked = ["run", str(model), "--target=gemmini16", f"--trials={trials}", "--ray=none"]
    return [*asked, f"--db={database}"]


def _said(folder: str, name: str) -> Path:
    return Path(folder) / f"{name}.stderr"


def _kill_once(arguments: Sequence[str], moment_s: float, folder: str, number: int) -> tuple[bool, str]:
    """Kill a run after `moment_s`, run it again; whether the kill came in time, and what went wrong."""
    said = _said(folder, str(number))
    run = Forked.start(arguments, said)
    time.sleep(moment_s)
    os.kill(run.process, signal.SIGKILL)
    struck = run.ended() == -signal.SIGKILL
    code = Forked.start(arguments, said).ended()
    return struck, f"exit {code}: {said.read_text()[-1000:]}" if code else ""


def _must_end(run: Forked) -> None:
    if code := run.ended():
        raise RuntimeError(f"tune run ended with {code}: {run.said.read_text()[-2000:]}")


def _import_everything() -> None:
    """What every run imports, before the first fork. No thread may be running yet: forks copy only one."""
    import onnx  # noqa: F401
    import optuna  # noqa: F401
    import xgboost  # noqa: F401

    import tilewright.measure.simulator.worker
    import tilewright.tuner.run
    import tilewright.tuner.verbs.ranges  # noqa: F401
