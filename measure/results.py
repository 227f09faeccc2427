"""Measurements: values, for successes and failures alike."""

from dataclasses import dataclass
from enum import StrEnum

from tilewright.compiler_core.errors import UsageError


class Status(StrEnum):
    """The end of a trial. Everything but OK is a failure with a reason, never a fake latency."""

    OK = "ok"
    INVALID = "invalid"  # the Config does not compile, or breaks a static rule
    FAILED = "failed"  # the device refused or crashed on this Config
    WRONG = "wrong"  # it ran, and computed other numbers
    TIMEOUT = "timeout"  # it overran its deadline
    LOST = "lost"  # the worker died or the reply never came; no evidence about the Config


@dataclass(frozen=True)
class Measurement:
    """One answer of a Device. `latency_us` is the median of `samples_us`; both empty unless status is OK."""

    status: Status
    latency_us: float | None = None
    samples_us: tuple[float, ...] = ()
    latency_cycles: float | None = None
    energy_uj: float | None = None
    peak_bytes: int | None = None
    reason: str = ""
    worker: str = ""

    def __post_init__(self) -> None:
        ok = self.status is Status.OK
        if ok != (self.latency_us is not None):
            raise UsageError(f"a measurement has a latency exactly when it is ok, not when {self.status}")
        if self.latency_us is not None and not 0.0 < self.latency_us < float("inf"):
            raise UsageError(f"latency of {self.latency_us} us is not a positive, finite time")


def failure(status: Status, reason: str, worker: str = "") -> Measurement:
    """A Measurement that carries only its status and reason."""
    return Measurement(status=status, reason=reason, worker=worker)
