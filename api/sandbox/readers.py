"""Readers of uploads: a confined process decides whether an upload is a model, or a job's spec."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tilewright.api.guards.limits import Places
from tilewright.api.sandbox.reader import LONGEST_ANSWER
from tilewright.api.schemas.jobs import JobSpec
from tilewright.api.settings import Settings
from tilewright.api.threads import Threads
from tilewright.compiler_core.errors import InputError, ModelError, TargetError
from tilewright.compiler_core.files.bundle import unpack
from tilewright.compiler_core.files.scratch import scratch
from tilewright.tuner.request import TuneRequest

ROOT = Path(__file__).parents[3]
PATIENCE_S = 15.0
"""Beyond the time for a model: to start a reader on a busy machine."""
QUEUE_S = 60.0
"""How long a request waits while other files are read."""


@dataclass(frozen=True)
class ModelFacts:
    """The child's answer for a good model: its number of ops, and the names of the dims without a size."""

    ops: int
    symbols: tuple[str, ...]


@dataclass(frozen=True)
class ReadSpec:
    """A spec that a child has read, with the name of its target."""

    spec: JobSpec
    target_name: str


class SpecError(InputError):
    """A spec has faults: pairs of where, and why. `together` is one line for all of them, if there is one."""

    def __init__(self, faults: Sequence[tuple[str, str]], together: str = "") -> None:
        super().__init__(together or "; ".join(f"{where}: {why}" for where, why in faults[:1]))
        self.faults = faults
        self.together = together


class BusyError(InputError):
    """There is too much to read for now."""


class Readers:
    """Reads uploads, a few at a time, and a model once where several requests send it at the same moment."""

    def __init__(self, settings: Settings, threads: Threads) -> None:
        self._settings = settings
        self._threads = threads
        count = max(1, settings.model_readers)
        self._places = Places(count, max(1, count - 1), QUEUE_S)
        self._idle: list[_Reader] = []
        self._closed = False
        self._under_way: dict[str, asyncio.Task[ModelFacts]] = {}

    async def model(self, digest: str, file: BinaryIO, request: TuneRequest, tenant: str) -> ModelFacts:
        """The facts of the file with the sizes of `request`; ModelError, one line, when it is no model,
        cannot have these sizes, or is too costly to read.
        """
        question = {
            "kind": "model",
            "dims": dict(request.dims),
            "ranges": dict(request.ranges),
            "inputs": dict(request.inputs),
        }
        key = f"{digest} {json.dumps(question, sort_keys=True)}"
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._model(file, question, tenant))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Ends the readers, those at work too."""
        self._closed = True
        for task in list(self._under_way.values()):
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        while self._idle:
            await self._idle.pop().end()

    async def spec(self, text: str, tenant: str) -> "ReadSpec":
        """The JobSpec in a JSON text, and its target's name. SpecError or TargetError for any other text.

        This process reads only what a child has read before, within its limits, and found good.
        """
        async with self._place(tenant):
            said = await self._ask({"kind": "spec", "text": text})
        if "faults" in said:
            raise SpecError(said["faults"])
        if "name" in said:
            return ReadSpec(JobSpec.model_validate_json(text), str(said["name"]))
        raise TargetError(self._complaint(said, "the spec"))

    async def _model(self, file: BinaryIO, question: Mapping[str, Any], tenant: str) -> ModelFacts:
        async with self._place(tenant):
            with scratch("model") as directory:
                path = directory / "model.onnx"
                await self._threads(unpack, file, path)
                said = await self._ask({**question, "path": str(path)})
        if "ops" in said:
            return ModelFacts(int(said["ops"]), tuple(said["symbols"]))
        raise ModelError(self._complaint(said, "the model"))

    @asynccontextmanager
    async def _place(self, tenant: str) -> AsyncIterator[None]:
        """One of the few that read; a tenant never holds them all, where there are two or more."""
        async with self._places.one(tenant, f"reader {tenant}") as place:
            if not place:
                raise BusyError("too much is waiting to be read; come again later")
            yield

    def _complaint(self, said: Mapping[str, Any], what: str) -> str:
        settings = self._settings
        if said.get("ended") == "slow":
            return f"{what} takes more than {settings.model_s:g} s to read"
        limits = f"{settings.model_memory_mb} MB and {settings.model_s:g} s"
        return str(said.get("error", f"{what} cannot be read within {limits}"))

    async def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        reader = self._idle.pop() if self._idle else await _Reader.started(self._settings)
        try:
            async with asyncio.timeout(self._settings.model_s + PATIENCE_S):
                said = await reader.ask(question)
        except (OSError, ValueError, TimeoutError):  # it is gone or answers nonsense: the next one is new
            await reader.end()
            return {"ended": "died"}
        except asyncio.CancelledError:
            await reader.end()
            raise
        if self._closed:
            await reader.end()
        else:
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
                "tilewright.api.sandbox.reader",
                str(settings.model_memory_mb),
                str(max(1, round(settings.model_s))),
                cwd=ROOT,
                env={"PATH": os.defpath, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=LONGEST_ANSWER + 1024,
                start_new_session=True,
            )
        )

    async def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """ValueError or OSError where no sensible line comes back."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question).encode() + b"\n")
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
