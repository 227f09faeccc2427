"""Messages between a driver and its workers: JSON text, and functions by name. Never a pickle.

A worker learns which device to build from a `DeviceSpec`, and a task from its text, sent once and known by
its digest from then on.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from tilewright.compiler_core.digest import Json, canonical_json
from tilewright.compiler_core.errors import DeviceError, UsageError
from tilewright.measure.device import Device, Task
from tilewright.measure.results import Measurement, Status

PLAIN = Measurement(Status.FAILED)  # defaults of fields that a reply leaves out
NUMBERS = ("latency_us", "latency_cycles", "energy_uj")


@dataclass(frozen=True)
class DeviceSpec:
    """The recipe of a worker's device, as plain text.

    `factory`, `encode` and `decode` are "module:function", importable wherever a worker runs: the factory
    takes `arguments` (one JSON object of keyword arguments) and returns a Device; `encode` turns a Task into
    text and `decode` is its inverse. `kind` names the device for the farm, `ascend910`; a cluster's worker
    nodes offer it as a custom resource.
    """

    kind: str
    factory: str
    encode: str
    decode: str
    arguments: str = "{}"

    @staticmethod
    def of(
        kind: str, factory: str, encode: str, decode: str, arguments: Mapping[str, Json] | None = None
    ) -> "DeviceSpec":
        """A spec from arguments that JSON can hold."""
        return DeviceSpec(kind, factory, encode, decode, canonical_json(dict(arguments or {})))

    def make_device(self) -> Device:
        """A new device; DeviceError with the reason when it cannot be had here."""
        device: Device = _named(self.factory)(**json.loads(self.arguments))
        return device

    def encode_task(self, task: Task) -> str:
        """The task as text."""
        text: str = _named(self.encode)(task)
        return text

    def decode_task(self, text: str) -> Task:
        """The task that `text` stands for."""
        task: Task = _named(self.decode)(text)
        return task

    def to_json(self) -> str:
        """All five fields."""
        return canonical_json({field.name: getattr(self, field.name) for field in fields(self)})

    @staticmethod
    def from_json(text: str) -> "DeviceSpec":
        """Inverse of `to_json`."""
        return DeviceSpec(**json.loads(text))


def _named(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    try:
        found: Callable[..., Any] = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise DeviceError(f"cannot load {name!r} here: {error}; it must read module:function") from None
    return found


def measurement_to_plain(measurement: Measurement) -> dict[str, Any]:
    """A JSON-able dict of the fields that differ from their defaults."""
    plain: dict[str, Any] = {"status": measurement.status.value}
    for field in fields(Measurement)[1:]:
        value = getattr(measurement, field.name)
        if value != getattr(PLAIN, field.name):
            plain[field.name] = value
    return plain


def measurement_from_plain(plain: Any, worker: str) -> Measurement:
    """Inverse of `measurement_to_plain`; a malformed answer is LOST, since it is no evidence about the
    Config.
    """
    try:
        values = dict(plain, status=Status(plain["status"]), worker=worker)
        values["samples_us"] = tuple(float(sample) for sample in values.get("samples_us", ()))
        numbers = [values[name] for name in NUMBERS if values.get(name) is not None]
        if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
            raise ValueError("a time or an energy is not a finite number")
        return Measurement(**values)
    except (KeyError, TypeError, ValueError, UsageError) as error:
        return Measurement(Status.LOST, reason=f"malformed answer: {error}", worker=worker)
