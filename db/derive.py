"""Which trial is the best of its key: a pure function over the records, repeatable at any time."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import median

from tilewright.db.records import (
    Best,
    Purpose,
    TrialRow,
    Verification,
    WorkloadKind,
)
from tilewright.measure.results import Measurement, Status

CONFIRMATIONS_NEEDED = 3
_BELOW_BOUND = 1.0 - 1e-9  # a measurement equal to its bound may round to just below it


def derive_best(rows: Iterable[TrialRow], kind: WorkloadKind) -> Best | None:
    """The best of one key, from all trials of that key; the same whatever their order.

    Among the configs that `objection` lets pass, the one whose confirmations have the smallest median of the
    objective; ties go to the smaller latency, then to the smaller config digest.
    """
    ordered = sorted(rows, key=lambda row: (row.trial.config.digest, _place(row)))
    by_config = [list(same) for _, same in groupby(ordered, key=lambda row: row.trial.config.digest)]
    fit = [_best_of(same) for same in by_config if not objection(same, kind)]
    return min(fit, key=_rank, default=None)


def objection(rows: Sequence[TrialRow], kind: WorkloadKind) -> str:
    """Why the config that all of `rows` measure may not be published; empty when it may."""
    here = [row for row in rows if not row.imported]
    confirmations = _confirmations(rows)
    objective = rows[0].key.objective
    if any(row.trial.measurement.status is Status.WRONG for row in here):
        return "it computed wrong numbers at least once"
    if len(confirmations) < CONFIRMATIONS_NEEDED:
        return f"it has {len(confirmations)} of {CONFIRMATIONS_NEEDED} confirmations"
    if any(row.trial.verification is Verification.NONE for row in confirmations):
        return "its numbers were not verified"
    if kind is not WorkloadKind.FOREIGN:
        if any(row.trial.verification is Verification.FOREIGN for row in confirmations):
            return "its numbers were verified by the device only"
        if any(row.trial.bound_us is None for row in confirmations):
            return "its latency bound is not known"
    if any(_is_below_bound(row) for row in confirmations):
        return "it was measured below its bound"
    if any(objective.of(row.trial.measurement) is None for row in confirmations):
        return f"the device does not measure {objective}"
    return ""


def _confirmations(rows: Sequence[TrialRow]) -> list[TrialRow]:
    return [
        row
        for row in rows
        if row.trial.purpose is Purpose.CONFIRMATION
        and row.trial.measurement.status is Status.OK
        and not row.imported
    ]


def _is_below_bound(row: TrialRow) -> bool:
    latency, bound = row.trial.measurement.latency_us, row.trial.bound_us
    return latency is not None and bound is not None and latency < bound * _BELOW_BOUND


def _best_of(rows: Sequence[TrialRow]) -> Best:
    confirmations = _confirmations(rows)
    first = confirmations[0]
    measured = [row.trial.measurement for row in confirmations]
    bounds = [row.trial.bound_us for row in confirmations if row.trial.bound_us is not None]
    peaks = [each.peak_bytes for each in measured if each.peak_bytes is not None]
    checks = {row.trial.verification for row in confirmations}
    return Best(
        key=first.key,
        config=first.trial.config,
        space_digest=first.trial.space_digest,
        latency_us=median([each.latency_us for each in measured if each.latency_us is not None]),
        bound_us=max(bounds, default=None),
        energy_uj=_median([each.energy_uj for each in measured]),
        peak_bytes=max(peaks, default=None),
        latency_cycles=_median([each.latency_cycles for each in measured]),
        verification=max(checks, key=_WEAKNESS.index),
        confirmations=len(confirmations),
        run=first.trial.run,
        number=first.trial.number,
    )


_WEAKNESS = (Verification.VALUE_EXACT, Verification.SAMPLED, Verification.FOREIGN, Verification.NONE)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _place(row: TrialRow) -> tuple[str, str, int, int]:
    return row.trial.run, row.trial.purpose, row.trial.number, row.trial.attempt


def best_value(best: Best) -> float:
    """What the objective of `best` makes small, in its own unit."""
    measured = Measurement(Status.OK, best.latency_us, energy_uj=best.energy_uj, peak_bytes=best.peak_bytes)
    value = best.key.objective.of(measured)
    return float("inf") if value is None else value


def _rank(best: Best) -> tuple[float, float, str]:
    return best_value(best), best.latency_us, best.config.digest
