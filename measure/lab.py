"""`--lab`: the text form of a FaultPlan, and devices under a plan.

    noise=0.03,straggler=0.01,pace_s=0.2        on the command line
    noise = 0.03                                or the same names as keys of a TOML file

These measurements are never mixed with clean ones: they have another toolchain, `toolchain_of`.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.errors import DeviceError, UsageError
from tilewright.measure.checked import CheckedDevice
from tilewright.measure.device import Device, DeviceInfo, Task
from tilewright.measure.faults import FaultPlan, FaultyDevice
from tilewright.measure.own_device import OwnDevice
from tilewright.measure.results import Measurement
from tilewright.search_space.knobs import Config

HOST_LAB = "TILEWRIGHT_LAB"
"""The variable by which `tune worker --lab` tells the workers of its host their plan."""
ELSEWHERE = {
    "double_reply": "a call has one answer; the farm's tests in virtual time know of two",
}
"""Faults of a FaultPlan that a simulated device cannot have."""


class PretendedEffects:
    """For a device in our own process: faults that would end or stop the process only fail the candidate."""

    def crash(self) -> None:
        """Nothing; the answer is lost."""

    def hang(self) -> None:
        """Nothing; the answer is lost."""

    def wait(self, seconds: float) -> None:
        """Nothing either: only workers keep a board's pace."""


def read_lab(said: str) -> FaultPlan:
    """The plan that `said` names; UsageError with the name or number that is wrong."""
    if "=" in said:
        pairs = [part.partition("=") for part in said.split(",") if part.strip()]
        return _plan({name.strip(): _number(name.strip(), value) for name, _, value in pairs})
    try:
        return _plan(tomllib.loads(Path(said).read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(
            f"--lab {said}: {error.strerror}; give a TOML file, or faults as noise=0.03"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--lab {said} is no TOML file: {error}") from None


def plan_text(plan: FaultPlan) -> str:
    """The faults that are on, as `read_lab` takes them."""
    quiet = asdict(FaultPlan())
    changed = {name: value for name, value in asdict(plan).items() if value != quiet[name] or name == "seed"}
    return ",".join(f"{name}={value}" for name, value in changed.items())


def toolchain_of(toolchain: str, plan: FaultPlan) -> str:
    """The toolchain of timings under a plan: the plan's text, besides the toolchain proper."""
    return f"{toolchain}-lab-{digest_of(asdict(plan))[:12]}"


def lab_here(device: Device, plan: FaultPlan) -> Device:
    """`device` under `plan` in this process: the same seed gives the same answers."""
    return _noticed(device, FaultyDevice(device, plan, life=0, effects=PretendedEffects()), plan)


def in_lab(device: Device, lab: str) -> Device:
    """`device` of a worker under the plan `lab`; itself for no plan. DeviceError where it fails to start."""
    if not lab:
        return device
    plan = read_lab(lab)
    if plan.happens("failed_start", os.getpid()):
        raise DeviceError("the device failed to start, by --lab")
    return _noticed(device, FaultyDevice(device, plan), plan)


def of_worker(device: Device, lab: str) -> Device:
    """`device` of a worker for a run under the plan `lab`, on a host that may have a plan of its own.

    It says which: a run measures on no host whose faults it does not know of.
    """
    own = lab_of_host()
    if not (said := lab or own):
        return device
    there = in_lab(device, own if not lab or read_lab(lab).hosts else lab)
    return _InLab(there, toolchain_of(device.describe().toolchain, read_lab(said)))


class _InLab:
    """A device whose toolchain names its plan."""

    def __init__(self, device: Device, toolchain: str) -> None:
        self._device = device
        self._toolchain = toolchain

    def describe(self) -> DeviceInfo:
        """As the device does, of another toolchain."""
        return replace(self._device.describe(), toolchain=self._toolchain)

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        """As the device does."""
        return self._device.measure(task, configs)


def _noticed(device: Device, faulty: FaultyDevice, plan: FaultPlan) -> Device:
    """`faulty` with its outputs checked: a user's own always, others where the plan makes some wrong."""
    shows = callable(getattr(device, "outputs", None))
    if plan.wrong_output and not shows:
        raise UsageError(f"--lab wrong_output: {device.describe().name} shows no outputs that could be wrong")
    asked = isinstance(device, OwnDevice) or plan.wrong_output > 0.0
    return CheckedDevice(faulty, plan.seed) if shows and asked else faulty


def lab_of_host() -> str:
    """The plan of this host's workers as text; nothing where there is none."""
    return os.environ.get(HOST_LAB, "")


def _number(name: str, text: str) -> float:
    try:
        return int(text) if name == "seed" else float(text)
    except ValueError:
        raise UsageError(f"--lab {name}={text}: give a number") from None


def _plan(given: Mapping[str, Any]) -> FaultPlan:
    known = [field.name for field in fields(FaultPlan) if field.name not in ELSEWHERE]
    for name, value in given.items():
        if name in ELSEWHERE:
            raise UsageError(f"--lab {name}: {ELSEWHERE[name]}")
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise UsageError(f"--lab {name} is no fault; {hint}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < float("inf"):
            raise UsageError(f"--lab {name} is {value!r}; give a number from 0 on")
        if name == "seed" and not isinstance(value, int):
            raise UsageError(f"--lab seed is {value!r}; give a whole number")
    same: dict[str, Any] = {name: value if name == "seed" else float(value) for name, value in given.items()}
    return FaultPlan(**same)
