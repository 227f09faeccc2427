"""Which trial is the best of its key: a pure function over the records, repeatable at any time."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from math import inf
from statistics import median

from tilewright.db.records import Best, Purpose, TrialRow, Verification, WorkloadKind
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Measurement, Status

CONFIRMATIONS_NEEDED = 3
_BELOW_BOUND = 1.0 - 1e-9  # a measurement equal to its bound may round to just below it


def derive_best(rows: Iterable[TrialRow], kind: WorkloadKind) -> Best | None:
    """The best of one key, from all trials of that key; the same for any order.

    Among the configs that `objection` lets pass, the one whose confirmations have the smallest median of the
    objective, over that of the default where measured under several protocols; ties go to the smaller
    latency, then to the smaller config digest.
    """
    rows = list(rows)
    wrong = _wrong(rows)
    fit: list[tuple[float, float, str, Best]] = []
    for of_protocol in _by_protocol(rows):
        default = _default_value(of_protocol, kind)
        for digest, same in _by_config(of_protocol).items():
            if digest not in wrong and not _objection(same, kind, default):
                best = _best_of(same)
                value = best_value(best, kind)
                fit.append((value / (default or 1.0), best.latency_us, digest, best))
    return min(fit, key=lambda ranked: ranked[:3], default=(0.0, 0.0, "", None))[3]


def derive_default(rows: Iterable[TrialRow]) -> Best | None:
    """The latest measurement of the default of one key as a Best, verified or not."""
    counted = [row for row in rows if row.trial.default and _counts(row)]
    if not counted:
        return None
    latest = max(counted, key=lambda row: (row.created_at_s, *_place(row)))
    digest = latest.trial.config.digest
    same = [row for row in counted if (row.protocol, row.trial.config.digest) == (latest.protocol, digest)]
    return _best_of(sorted(same, key=_place))


def objection(rows: Sequence[TrialRow], config_digest: str, kind: WorkloadKind) -> str:
    """Why a config may not be published for the key that all of `rows` measure; empty when it may."""
    if config_digest in _wrong(rows):
        return "it computed wrong numbers"
    reasons = ["it has no confirmations"]
    for of_protocol in _by_protocol(rows):
        same = _by_config(of_protocol).get(config_digest)
        if same is not None:
            reasons.append(_objection(same, kind, _default_value(of_protocol, kind)))
    return "" if "" in reasons else reasons[-1]


def ranked_for(objective: Objective, kind: WorkloadKind) -> Objective:
    """The number by which records of one kind are ranked, under a key's objective."""
    return objective.row.of_kernels if kind is WorkloadKind.KERNEL else objective


def _objection(rows: Sequence[TrialRow], kind: WorkloadKind, default: float | None) -> str:
    """The same for the rows of one config under one protocol, without a look at wrong numbers."""
    confirmations = _confirmations(rows)
    objective = ranked_for(rows[0].key.objective, kind)
    if len([row for row in rows if _counts(row)]) < CONFIRMATIONS_NEEDED:
        return f"it has {len(confirmations)} of {CONFIRMATIONS_NEEDED} confirmations"
    if len(confirmations) < CONFIRMATIONS_NEEDED:
        return "its numbers were not verified"
    if kind is not WorkloadKind.FOREIGN:
        if any(row.trial.verification is Verification.FOREIGN for row in confirmations):
            return "its numbers were verified by the device only"
        if any(row.trial.bound_us is None for row in confirmations):
            return "its latency bound is not known"
    if any(_is_below_bound(row) for row in confirmations):
        return "it was measured below its bound"
    values = [objective.of(row.trial.measurement) for row in confirmations]
    if None in values:
        return f"the device does not measure {objective}"
    if kind is WorkloadKind.FOREIGN:
        return ""
    if default is None:
        return "its default was not measured under the same protocol"
    if best_value(_best_of(rows), kind) > default:
        return "its default is better"
    return ""


def _by_protocol(rows: Sequence[TrialRow]) -> list[list[TrialRow]]:
    ordered = sorted(rows, key=lambda row: (row.protocol, row.trial.config.digest, _place(row)))
    return [list(same) for _, same in groupby(ordered, key=lambda row: row.protocol)]


def _by_config(rows: Sequence[TrialRow]) -> dict[str, list[TrialRow]]:
    return {digest: list(same) for digest, same in groupby(rows, key=lambda row: row.trial.config.digest)}


def _wrong(rows: Sequence[TrialRow]) -> set[str]:
    """Configs that compute wrong numbers: as a device once showed, or as the latest check of them says.

    A check is a program that may have been mended since; a device that was wrong once may be so again.
    """
    wrong = [row for row in rows if row.trial.measurement.status is Status.WRONG and not row.imported]
    verified = {row.trial.config.digest: row.created_at_s for row in sorted(_confirmations(rows), key=_when)}
    return {
        row.trial.config.digest
        for row in wrong
        if row.trial.measurement.worker or row.created_at_s >= verified.get(row.trial.config.digest, 0.0)
    }


def _when(row: TrialRow) -> float:
    return row.created_at_s


def _counts(row: TrialRow) -> bool:
    """Whether a trial confirms something here."""
    ok = row.trial.measurement.status is Status.OK and not row.imported
    return ok and row.trial.purpose is Purpose.CONFIRMATION


def _confirmations(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Those whose numbers were verified."""
    return [row for row in rows if _counts(row) and row.trial.verification is not Verification.NONE]


def _default_value(rows: Sequence[TrialRow], kind: WorkloadKind) -> float | None:
    """The objective of the default under one protocol; of several defaults the best; None without any.

    A default that the device cannot run is infinitely slow.
    """
    asked = [row for row in rows if row.trial.default and not row.imported]
    answered = [row for row in asked if row.trial.measurement.status is not Status.LOST]
    counted = _by_config([row for row in answered if _counts(row)]).values()
    return min((best_value(_best_of(same), kind) for same in counted), default=inf if answered else None)


def _is_below_bound(row: TrialRow) -> bool:
    latency, bound = row.trial.measurement.latency_us, row.trial.bound_us
    return latency is not None and bound is not None and latency < bound * _BELOW_BOUND


def _best_of(rows: Sequence[TrialRow]) -> Best:
    confirmations = _confirmations(rows) or [row for row in rows if _counts(row)]
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


def best_value(best: Best, kind: WorkloadKind = WorkloadKind.GRAPH) -> float:
    """The objective's value of `best`, in its own unit."""
    measured = Measurement(Status.OK, best.latency_us, energy_uj=best.energy_uj, peak_bytes=best.peak_bytes)
    value = ranked_for(best.key.objective, kind).of(measured)
    return float("inf") if value is None else value
