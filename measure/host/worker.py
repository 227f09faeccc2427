"""Factory, `encode` and `decode` of the host device, by name for a measuring worker."""

from tilewright.compiler_core.errors import DeviceError
from tilewright.compiler_core.target_model.file import parse_target
from tilewright.measure.host.device import HostDevice


def host_device(target_text: str) -> HostDevice:
    """A core of this CPU; DeviceError where the text describes another."""
    target, mistakes = parse_target(target_text)
    if target is None:
        raise DeviceError(f"the target file is unusable: {mistakes[0]}")
    return HostDevice(target)
