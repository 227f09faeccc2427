"""A user's own device, whose code may raise anything: an exception becomes a failed trial with its reason."""

from collections.abc import Sequence
from typing import Any

from tilewright.measure.device import Device, DeviceInfo, Task
from tilewright.measure.repeated import Repeated, measured
from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.knobs import Config


class OwnDevice:
    """`device`, whose exceptions in `measure` become failures of every Config of the call."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def __getattr__(self, name: str) -> Any:
        """Further methods of the device."""
        return getattr(self._device, name)

    def describe(self) -> DeviceInfo:
        """The device's own DeviceInfo."""
        return self._device.describe()

    def measure_repeated(self, task: Task, configs: Sequence[Config], times: int) -> list[Measurement]:
        """The same of `times` runs in a row, where the device can do that, else of one."""
        return self.measure(Repeated(task, times), configs)

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        """One Measurement per Config, even where the device raises."""
        try:
            return measured(self._device, task, configs)
        except Exception as error:  # noqa: BLE001 - somebody else's code may raise anything
            reason = f"the device raised {type(error).__name__}: {error}"
            return [failure(Status.FAILED, reason) for _ in configs]
