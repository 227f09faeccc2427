"""The process of a measuring worker: one device, the tasks it was sent, two calls. Independent of Ray."""

import json
import os
import socket
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tilewright.compiler_core.errors import DeviceError, TilewrightError
from tilewright.measure.device import Device, Task
from tilewright.measure.results import Measurement, Status, failure
from tilewright.measure.wire import DeviceSpec, measurement_to_plain
from tilewright.search_space.knobs import Config


class MeasuringWorker:
    """Answers in JSON text. The device is built at the first greeting, so that its reason can travel back."""

    def __init__(self, spec: str, node: str = "") -> None:
        self._spec = DeviceSpec.from_json(spec)
        self._node = node  # the cluster's name of the host
        self._incarnation = os.urandom(8).hex()
        self._tasks: dict[str, Task] = {}
        self._device: Device | None = None

    def greet(self) -> str:
        """The identity of this process: `{node, host, incarnation, place, pid, started, device}`.

        Or `{node, host, broken}` with the reason when there is no device.
        """
        who: dict[str, Any] = {"host": socket.gethostname(), "node": self._node}
        try:
            self._device = self._device or self._spec.make_device()
            info = self._device.describe()
        except TilewrightError as error:
            return json.dumps(who | {"broken": str(error)})
        except Exception as error:  # noqa: BLE001 - a user's factory may raise anything
            return json.dumps(who | {"broken": f"{type(error).__name__}: {error}"})
        who |= {"incarnation": self._incarnation, "place": place(), "pid": os.getpid()}
        who["started"] = started(os.getpid())
        who["device"] = asdict(info)
        return json.dumps(who)

    def measure(self, call: str) -> str:
        """`{incarnation, texts, task, configs, canary}` -> `{measurements, canary, elapsed_s}`.

        Or why not: `{stale}` when the call was meant for a process before this one, `{missing}` with the
        digests of tasks never sent here, `{broken}` when the device says that nothing can be measured.
        """
        asked = json.loads(call)
        if asked["incarnation"] != self._incarnation or self._device is None:
            return json.dumps({"stale": self._incarnation})
        for digest, text in asked["texts"].items():
            self._tasks[digest] = self._spec.decode_task(text)
        canary = asked["canary"]
        needed = ([asked["task"]] if asked["configs"] else []) + ([canary[0]] if canary else [])
        missing = [digest for digest in needed if digest not in self._tasks]
        if missing:
            return json.dumps({"missing": missing})
        began = time.perf_counter()
        reply: dict[str, Any] = {"measurements": [], "canary": None}
        try:
            if asked["configs"]:
                answers = self._ask(self._device, asked["task"], asked["configs"])
                reply["measurements"] = [measurement_to_plain(answer) for answer in answers]
            if canary:
                reply["canary"] = measurement_to_plain(self._ask(self._device, canary[0], [canary[1]])[0])
        except DeviceError as error:
            return json.dumps({"broken": str(error)})
        reply["elapsed_s"] = time.perf_counter() - began
        return json.dumps(reply)

    def _ask(self, device: Device, digest: str, texts: list[str]) -> list[Measurement]:
        configs = [Config.from_json(text) for text in texts]
        try:
            return device.measure(self._tasks[digest], configs)
        except DeviceError:
            raise
        except Exception as error:  # noqa: BLE001 - a user's device may; find the candidate
            if len(configs) == 1:
                return [failure(Status.FAILED, f"the device raised {type(error).__name__}: {error}")]
            return [self._ask(device, digest, [text])[0] for text in texts]


def place() -> str:
    """The scope of process ids: this boot of this kernel, and the namespace of process ids."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"


def started(pid: int) -> int | None:
    """When a process began, in kernel ticks: with the id, its identity. None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])
