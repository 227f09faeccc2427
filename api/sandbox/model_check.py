"""Whether a file that somebody sent is a model: asked of a process that has nothing to lose."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tilewright.api.sandbox.parse_model import LONGEST_ANSWER
from tilewright.api.settings import Settings
from tilewright.api.threads import Threads
from tilewright.compiler_core.errors import ModelError

ROOT = Path(__file__).parents[3]
PATIENCE_S = 15.0
"""Beyond the time for a model: to start a reader on a busy machine."""


@dataclass(frozen=True)
class ModelFacts:
    """What the child says of a good model: how many ops, and the names of its symbolic dims."""

    ops: int
    symbols: tuple[str, ...]


class ModelCheck:
    """Checks models, a few at a time, and each content once however many send it at the same moment."""

    def __init__(self, settings: Settings, threads: Threads) -> None:
        self._settings = settings
        self._threads = threads
        self._places = asyncio.Semaphore(max(1, settings.model_readers))
        self._idle: list[_Reader] = []
        self._under_way: dict[str, asyncio.Task[ModelFacts]] = {}

    async def check(self, digest: str, file: BinaryIO) -> ModelFacts:
        """What the file holds; ModelError, one line, when it is no model or takes too much to read."""
        task = self._under_way.get(digest)
        if task is None:
            task = asyncio.create_task(self._check(file))
            self._under_way[digest] = task
            task.add_done_callback(lambda _: self._under_way.pop(digest, None))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Ends the readers."""
        while self._idle:
            await self._idle.pop().end()

    async def _check(self, file: BinaryIO) -> ModelFacts:
        async with self._places:
            with tempfile.TemporaryDirectory(prefix="tilewright-model-") as directory:
                path = Path(directory) / "model.onnx"
                await self._threads(_copy, file, path)
                said = await self._ask_reader(path)
        settings = self._settings
        if said.get("ended") == "slow":
            raise ModelError(f"the model takes more than {settings.model_s:g} s to read")
        if "ended" in said:
            raise ModelError(
                f"the model cannot be read within {settings.model_memory_mb} MB and {settings.model_s:g} s"
            )
        if "error" in said:
            raise ModelError(str(said["error"]))
        return ModelFacts(int(said["ops"]), tuple(said["symbols"]))

    async def _ask_reader(self, path: Path) -> dict[str, Any]:
        reader = self._idle.pop() if self._idle else await _Reader.started(self._settings)
        try:
            async with asyncio.timeout(self._settings.model_s + PATIENCE_S):
                said = await reader.ask(path)
        except (OSError, ValueError, TimeoutError):  # it is gone, or lost its mind: the next one is new
            await reader.end()
            return {"ended": "died"}
        except asyncio.CancelledError:
            await reader.end()
            raise
        self._idle.append(reader)
        return said


@dataclass(frozen=True)
class _Reader:
    """A process that answers for one model after the other, each read in a fork of its own."""

    process: asyncio.subprocess.Process

    @classmethod
    async def started(cls, settings: Settings) -> "_Reader":
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tilewright.api.sandbox.parse_model",
                str(settings.model_memory_mb),
                str(max(1, round(settings.model_s))),
                cwd=ROOT,
                env={"PATH": os.defpath, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=LONGEST_ANSWER + 1024,
            )
        )

    async def ask(self, path: Path) -> dict[str, Any]:
        """ValueError or OSError where no sensible line comes back."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(str(path)).encode() + b"\n")
        await self.process.stdin.drain()
        said = json.loads(await self.process.stdout.readline())
        if not isinstance(said, dict):
            raise ValueError("an answer is an object")
        return said

    async def end(self) -> None:
        """Kills it, and waits until it is gone."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


def _copy(file: BinaryIO, path: Path) -> None:
    file.seek(0)
    with path.open("wb") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
