"""Factory, `encode` and `decode` of the host device, by name for a measuring worker. LLVM is loaded only
where one is made.
"""

from typing import TYPE_CHECKING

from tilewright.compiler_core.errors import DeviceError
from tilewright.compiler_core.target_model.file import parse_target, target_from_text
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.wire import DeviceSpec

if TYPE_CHECKING:
    from tilewright.measure.host.device import HostDevice


def kind_of(target: Target) -> str:
    """The resource name of workers with cores of a CPU: its digest is in it."""
    return f"host-{target.digest[:16]}" if target.identity else target.name


def host_spec(target_text: str) -> DeviceSpec:
    """The DeviceSpec of workers that offer cores of this kind of CPU."""
    return DeviceSpec.of(
        kind_of(target_from_text(target_text)),
        "tilewright.measure.host.worker:host_device",
        "tilewright.measure.simulator.worker:task_to_text",
        "tilewright.measure.simulator.worker:task_from_text",
        {"target_text": target_text},
    )


def host_device(target_text: str) -> "HostDevice":
    """A core of this CPU; DeviceError where the text describes another."""
    target, mistakes = parse_target(target_text)
    if target is None:
        raise DeviceError(f"the target file is unusable: {mistakes[0]}")
    from tilewright.measure.host.device import HostDevice

    return HostDevice(target)
