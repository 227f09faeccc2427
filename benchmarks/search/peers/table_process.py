"""A tuner of others in a process of its own: it is given a whole table, and answers what it evaluated."""

import contextlib
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.arena import SearchArena
from tilewright.compiler_core.errors import DeviceError, UsageError
from tilewright.search_space.knobs import Config
from tilewright.tuner.kernel.problem import Floats


class TableProcess:
    """`host` runs under `python`, with the table of `arena`; lines of JSON go both ways."""

    def __init__(self, python: Path, host: Path, arena: SearchArena) -> None:
        space, rows = arena.problem.space, arena.problem.whole
        if rows is None:
            raise UsageError(f"the space of {arena.key} is too large to be recorded for {host.stem}")
        self._arena, self._name = arena, host.stem
        self._process = subprocess.Popen(
            [python, host],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        latencies = arena.latencies_us(rows)
        self._tell(
            {
                "knobs": {knob.name: list(knob.values) for knob in space.knobs},
                "rows": [
                    [*(value for _, value in space.decode(row)), None if np.isnan(us) else us]
                    for row, us in zip(rows, latencies.tolist(), strict=True)
                ],
            }
        )

    def latencies_us(self, search: dict[str, Any]) -> Floats:
        """Of the trials of one search, up to its budget, in order; NaN where one failed. DeviceError when the
        process is gone.
        """
        self._tell(search)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise DeviceError(
                f"{self._name} ended in the middle of {search['strategy']}; is its version right?"
            )
        found: list[list[Any]] = json.loads(line)[: search["budget"]]
        names = [knob.name for knob in self._arena.problem.space.knobs]
        configs = [Config(tuple(zip(names, values, strict=True))) for values in found]
        encode = self._arena.problem.space.encode
        return self._arena.latencies_us(np.array([encode(config) for config in configs], dtype=np.int32))

    def _tell(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then no answer comes, and `latencies_us` says so
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
