"""Lookups to demand: which question an answer was to, and what it served."""

from pathlib import Path

from tilewright.db.demand.entries import Asked, Demandable, Served
from tilewright.db.demand.recorder import Recorder
from tilewright.db.records import Best, Key

_MEASURED, _GUESSED, _DEFAULT = Served.MEASURED.value, Served.GUESSED.value, Served.DEFAULT.value


def note_kernel(recorder: Recorder, key: Key, best: Best | None, exact: bool = True) -> None:
    """One lookup of a kernel: the record that was served, `exact` or of a relative; None where it missed."""
    # A plain tuple and words at hand: this is a part of every lookup.
    served = _DEFAULT if best is None else _MEASURED if exact else _GUESSED
    asked = (key.workload_digest, key.target_digest, key.toolchain, key.objective._value_, served)
    recorder.note(asked, 0.0 if best is None else best.latency_us)


def note_network(
    recorder: Recorder, key: Key, served: Served, cost_us: float | None, about: Demandable
) -> None:
    """One lookup of a network, whose latency with what was served is `cost_us`."""
    asked = Asked(key.workload_digest, key.target_digest, key.toolchain, key.objective.value, served.value)
    recorder.note(asked, cost_us or 0.0)
    if served is not Served.MEASURED:
        recorder.describe(key.workload_digest, lambda: about)


def place_of(name: str | Path) -> str:
    """A model or target as it is found from any folder: a file by its whole path, a preset by its name."""
    path = Path(name)
    return str(path.absolute()) if path.is_file() else str(name)
