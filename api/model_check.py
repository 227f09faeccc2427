"""Whether a file that somebody sent is a model: asked of a child process that has nothing to lose."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from api.settings import Settings
from api.threads import Threads
from compiler_core.errors import ModelError

ROOT = Path(__file__).parents[1]
LONGEST_ANSWER = 1 << 20


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
        self._readers = asyncio.Semaphore(max(1, settings.model_readers))
        self._under_way: dict[str, asyncio.Task[ModelFacts]] = {}

    async def check(self, digest: str, file: BinaryIO) -> ModelFacts:
        """What the file holds; ModelError, one line, when it is no model or takes too much to read."""
        task = self._under_way.get(digest)
        if task is None:
            task = asyncio.create_task(self._check(file))
            self._under_way[digest] = task
            task.add_done_callback(lambda _: self._under_way.pop(digest, None))
        return await asyncio.shield(task)

    async def _check(self, file: BinaryIO) -> ModelFacts:
        async with self._readers:
            with tempfile.TemporaryDirectory(prefix="tilewright-model-") as directory:
                path = Path(directory) / "model.onnx"
                await self._threads(_copy, file, path)
                said = await self._ask_child(path)
        if "error" in said:
            raise ModelError(str(said["error"]))
        return ModelFacts(int(said["ops"]), tuple(said["symbols"]))

    async def _ask_child(self, path: Path) -> dict[str, Any]:
        settings = self._settings
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "api.parse_model",
            str(path),
            str(settings.model_memory_mb),
            str(max(1, round(settings.model_s))),
            cwd=ROOT,
            env={"PATH": os.defpath, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(settings.model_s):
                said, _ = await child.communicate()
        except TimeoutError:
            raise ModelError(f"the model takes more than {settings.model_s:g} s to read") from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode != 0 or len(said) > LONGEST_ANSWER:
            raise ModelError(
                f"the model cannot be read within {settings.model_memory_mb} MB and {settings.model_s:g} s"
            )
        answer: dict[str, Any] = json.loads(said)
        return answer


def _copy(file: BinaryIO, path: Path) -> None:
    file.seek(0)
    with path.open("wb") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
