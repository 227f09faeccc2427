"""The Device protocol: measures the time of a Config.

Implementations: the simulated accelerator, the replay of a recorded table, a user's own board. Each of them
passes the suite in tests/conformance/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.toolchain import TOOLCHAIN, native_toolchain
from tilewright.measure.results import Measurement
from tilewright.search_space.knobs import Config


@dataclass(frozen=True)
class DeviceInfo:
    """The device's identity, part of every record. `toolchain` names everything that affects a Config's
    latency (compiler, firmware and clock settings for a board): records answer under the same one only.
    `protocol` is the way to one latency, as in "median of 3 after 1 warm-up": latencies of two protocols are
    never compared. Both are plain names.
    """

    name: str
    target_digest: str
    toolchain: str
    deterministic: bool
    protocol: str = "one reading"


def simulated_info(target_digest: str, name: str = "simulator") -> DeviceInfo:
    """The DeviceInfo of a target's simulated accelerator."""
    return DeviceInfo(name, target_digest, TOOLCHAIN, deterministic=True)


PAIRED = "median of kernel over multiply-adds beside it, in CPU time, after 2 warm-ups"
"""The protocol of the host (measure/host)."""


def built_in_info(target: Target) -> DeviceInfo:
    """The default device of a target: the CPU itself for the host, else a simulated accelerator."""
    if target.identity:
        return DeviceInfo("host", target.digest, native_toolchain(), deterministic=False, protocol=PAIRED)
    return simulated_info(target.digest)


class Task(Protocol):
    """The object of tuning: a Workload, a whole Program, or a foreign space. Its digest is a database key."""

    @property
    def digest(self) -> str:
        """64 hex characters."""
        ...


class Device(Protocol):
    """Two methods. A failed trial is a value with its reason; DeviceError means nothing can be measured."""

    def describe(self) -> DeviceInfo:
        """Constant over the life of the device."""
        ...

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        """One Measurement per Config, in their order."""
        ...
