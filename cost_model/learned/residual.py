"""The model of a run: the residual between measurement and draft, learned over the records of all its tasks.

The target is log(measured) - log(draft) less the task's own mean, so that records of other shapes and other
devices teach the shape of the landscape, while each task's level comes from its own measurements.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tilewright.cost_model.learned.ensemble import Ensemble, EnsembleSettings, Features, Floats, fit_ensemble
from tilewright.cost_model.learned.feasibility import Feasibility, fit_feasibility
from tilewright.cost_model.learned.gaussian import (
    GaussianProcess,
    Posterior,
    Scales,
    find_scales,
    fit_gaussian,
)

_OFFSET_SHRINKAGE = 2.0
_KNEE, _SLOW_SCALE = 0.3, 0.25
_FAILED = 0.9


@dataclass(frozen=True)
class TaskRecords:
    """The measurements of one task. `features` [n, f], `draft_log` [n] (zeros without a draft), `latency_log`
    [n] (NaN where it failed); `prior_log` [n] is the correction of a prior to the draft. `in_full`: slow
    values are learned as they are. `source` is what measured it, where several records are of one.
    """

    task: str
    features: Features
    draft_log: Floats
    latency_log: Floats
    prior_log: Floats | None = None
    in_full: bool = False
    source: str = ""


@dataclass(frozen=True)
class Prediction:
    """Per row: mean of log latency, and the chance that it measures at all; `std_log` is the mean's spread.

    `known_log` [n] is the sum of draft, prior and task level, before trees and process, `doubt` its spread.
    """

    known_log: Floats
    trees: Floats
    trees_std: Floats
    posterior: Posterior
    process_share: float
    feasible: Floats
    doubt: Floats | float = 0.0

    @property
    def mean_log(self) -> Floats:
        """float64 [n]."""
        share = self.process_share
        return self.known_log + share * self.posterior.mean + (1.0 - share) * self.trees

    @property
    def std_log(self) -> Floats:
        """float64 [n]; the spread of a mixture: within its parts, and between them."""
        share = self.process_share
        apart = share * (1.0 - share) * (self.posterior.mean - self.trees) ** 2
        within = share * self.posterior.std**2 + (1.0 - share) * self.trees_std**2
        result: Floats = np.sqrt(within + apart + np.square(self.doubt))
        return result

    def given(self, row: int) -> "Prediction":
        """As if `row` had been measured and had come out as expected."""
        return replace(self, posterior=self.posterior.given(row))


@dataclass(frozen=True)
class ResidualModel:
    """A fitted model; `offsets` holds the level of each task it has records of."""

    ensemble: Ensemble
    process: GaussianProcess
    process_share: float
    feasibility: Feasibility
    offsets: Mapping[str, float]
    default_offset: float

    def predict(self, task: str, features: Features, draft_log: Floats) -> Prediction:
        """For rows of `task` (known to the model or not): features [n, f], log draft [n]."""
        level = self.offsets.get(task, self.default_offset)
        return Prediction(
            draft_log + level,
            *self.ensemble.predict(features),
            self.process.posterior(features),
            self.process_share,
            self.feasibility.probability(features),
        )


@dataclass(frozen=True)
class SlowParts:
    """The parts of a model that take long to learn and change little with a few more measurements."""

    ensemble: Ensemble
    feasibility: Feasibility
    scales: Scales


@dataclass(frozen=True)
class _Rows:
    """Records put together: features [n, f], target [n], the successes among them, and levels of tasks."""

    features: Features
    target: Floats
    ok: npt.NDArray[np.bool_]
    offsets: Mapping[str, float]
    default: float


def fit_trees(
    records: Sequence[TaskRecords], seed: int, settings: EnsembleSettings
) -> tuple[Ensemble, Feasibility] | None:
    """Trees and the chance of failure over all `records`; None while fewer than two succeeded."""
    rows = _together(records, settings, np.random.default_rng(seed))
    if rows is None:
        return None
    trees = fit_ensemble(rows.features, rows.target, seed, settings)
    return trees, fit_feasibility(rows.features, rows.ok, seed, settings)


def fit_slow(
    records: Sequence[TaskRecords], reference: Features, seed: int, settings: EnsembleSettings
) -> SlowParts | None:
    """The slow parts over all `records`; None while fewer than two measurements succeeded.

    Trees are left out while the process has the whole vote, and will have until half as much again is known.
    """
    rng = np.random.default_rng(seed)
    rows = _together(records, settings, rng)
    if rows is None:
        return None
    has_trees = settings.process_share < 1.0 or 1.5 * len(rows.target) > settings.process_rows
    return SlowParts(
        fit_ensemble(rows.features, rows.target, seed, settings) if has_trees else Ensemble(()),
        fit_feasibility(rows.features, rows.ok, seed, settings),
        find_scales(rows.features, rows.target, reference, rng, settings.process_rows),
    )


def fit_residual(
    records: Sequence[TaskRecords],
    reference: Features,
    seed: int,
    settings: EnsembleSettings,
    slow: SlowParts | None = None,
) -> ResidualModel | None:
    """The model over all `records`; None while fewer than two measurements succeeded.

    Beyond `settings.max_rows` records, a task keeps its share of them: half of it its fastest, half drawn.
    `slow` are parts learned from some of the records before; without them they are learned from all.
    """
    rng = np.random.default_rng(seed)
    rows = _together(records, settings, rng)
    parts = slow or fit_slow(records, reference, seed, settings)
    if rows is None or parts is None:
        return None
    process_rows = settings.process_rows
    return ResidualModel(
        parts.ensemble,
        fit_gaussian(rows.features, rows.target, parts.scales, rng, process_rows),
        settings.process_share * min(1.0, process_rows / len(rows.target)),
        parts.feasibility,
        rows.offsets,
        rows.default,
    )


def _together(
    records: Sequence[TaskRecords], settings: EnsembleSettings, rng: np.random.Generator
) -> _Rows | None:
    """None while fewer than two measurements succeeded."""
    if sum(int(np.isfinite(r.latency_log).sum()) for r in records) < 2:
        return None
    total = sum(len(r.latency_log) for r in records)
    kept = [_thinned(r, settings.max_rows / total, rng) for r in records]
    residuals = [_residual(r) for r in kept]
    finite = [np.isfinite(residual) for residual in residuals]
    default = float(np.mean(np.concatenate([r[ok] for r, ok in zip(residuals, finite, strict=True)])))
    offsets = {}
    for record, residual, ok in zip(kept, residuals, finite, strict=True):
        count = int(ok.sum())
        near = float(residual[ok].sum()) + _OFFSET_SHRINKAGE * default
        # Without a draft a level learned elsewhere does not apply here.
        shrunken = near / (count + _OFFSET_SHRINKAGE)
        offsets[record.task] = shrunken if record.draft_log.any() or not count else float(residual[ok].mean())
    ok = np.concatenate(finite)
    level = np.concatenate([np.full(len(r.latency_log), offsets[r.task]) for r in kept])
    target = np.concatenate(residuals) - level
    # What fails is no better than the slow ones: left out, a region of failures would look unknown, worth a
    # visit.
    target = np.where(ok, target, np.quantile(target[ok], _FAILED))
    return _Rows(np.concatenate([r.features for r in kept]), target, ok, offsets, default)


def _residual(records: TaskRecords) -> Floats:
    """log(measured) - log(draft); without a draft log(measured), its slow part drawn in. Less a prior's word.

    Where latencies range over a hundredfold, models would spend themselves on how slow the slow ones are.
    """
    prior = 0.0 if records.prior_log is None else records.prior_log
    if records.in_full or records.draft_log.any() or not np.isfinite(records.latency_log).any():
        return records.latency_log - records.draft_log - prior
    knee = np.nanquantile(records.latency_log, _KNEE)
    beyond = np.maximum(records.latency_log - knee, 0.0)
    return records.latency_log - (1.0 - _SLOW_SCALE) * beyond - prior


def _thinned(records: TaskRecords, share: float, rng: np.random.Generator) -> TaskRecords:
    count = len(records.latency_log)
    keep = int(share * count)
    if keep >= count:
        return records
    fastest_first = np.argsort(
        np.where(np.isnan(records.latency_log), np.inf, records.latency_log), kind="stable"
    )
    best, rest = fastest_first[: keep // 2], fastest_first[keep // 2 :]
    chosen = np.sort(np.concatenate([best, rng.permutation(rest)[: keep - len(best)]]))
    return replace(
        records,
        features=records.features[chosen],
        draft_log=records.draft_log[chosen],
        latency_log=records.latency_log[chosen],
        prior_log=None if records.prior_log is None else records.prior_log[chosen],
    )
