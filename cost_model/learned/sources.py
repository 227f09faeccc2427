"""Sources of a prior: boosted trees of what each has measured, and the votes they have on another task.

A source is heard as far as it ranks what the others have measured, before anything else is known; then as far
as it ranks the measurements at hand. Votes by rank are the idea of RGPE (Feurer et al., 2018), leaving one
source out that of its weight against overfitting.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tilewright.cost_model.learned.ensemble import Ensemble, EnsembleSettings, Features, Floats
from tilewright.cost_model.learned.feasibility import Feasibility
from tilewright.cost_model.learned.residual import TaskRecords, fit_trees
from tilewright.cost_model.learned.scores import rank_correlation

# Measurements that what was known before weighs as many as, and the agreement up to which a source has no
# vote; the second pair without a draft, where there is nothing else to lean on while a source misleads.
_SHRINKAGE, _LEAST_VOTE = 4.0, 0.4
_BLIND_SHRINKAGE, _LEAST_BLIND_VOTE = 2.0, 0.7
_FEWEST = 3
"""Measurements among the better half from which on a rank correlation says anything."""
_UNTESTED = 0.75
"""What is known of a source that has no other beside it."""
_FOLDS = 4
_FADING = 16.0
"""Measurements of a task after which sources have half of their vote."""
SAME_SPACE = EnsembleSettings(members=1, rounds=100, depth=6, bins=64, max_rows=30_000)
"""Sizes of a source in the space of the problem: it holds a whole table, at half a second for 30,000 rows."""


@dataclass(frozen=True)
class RankAgreement:
    """How well S sources rank one task, and what fails of it: float64 [2, S], 1 at best; and `counts` [2] of
    the measurements that say so.
    """

    each: Floats
    counts: Floats


@dataclass(frozen=True)
class Source:
    """Trees of one source, and its `standing` [2]: how well it ranks what others have measured, and what
    fails there.
    """

    trees: Ensemble
    feasibility: Feasibility
    standing: Floats

    def words(self, features: Features) -> Floats:
        """Log of what the draft is corrected by, about no level, and the chance of success: [2, n]."""
        return _words(self.trees, self.feasibility, features)


def _words(trees: Ensemble, feasibility: Feasibility, features: Features) -> Floats:
    return np.stack([trees.predict(features)[0], feasibility.probability(features)])


def fit_sources(
    records: Sequence[TaskRecords], seed: int, settings: EnsembleSettings, *, blind: bool
) -> tuple[Source, ...]:
    """A Source for every device among `records`, and one of all together where there are several.

    `blind`: records without a draft, of one space.
    """
    groups = defaultdict(list)
    for record in records:
        groups[record.source or record.task].append(record)
    if blind:
        settings = SAME_SPACE
    sources = {}
    for name, group in groups.items():
        if (fitted := fit_trees(group, seed, settings)) is not None:
            sources[name] = fitted
    made = []
    for name, (trees, feasibility) in sources.items():
        others = [each for other, group in groups.items() if other != name for each in group]
        standing = _standing(trees, feasibility, others) if others else _within(groups[name], seed, settings)
        made.append(Source(trees, feasibility, standing))
    if len(made) > 1 and not blind and (fitted := fit_trees(records, seed, settings)) is not None:
        made.append(Source(*fitted, _left_out(list(groups.values()), seed, settings)))
    return tuple(made)


def agreement_of(words: Floats, records: TaskRecords) -> RankAgreement:
    """By rank correlation of words [2, sources, n] with `records`.

    Without a draft on their better half: devices agree on bad Configs, and a source that cannot rank the good
    ones only slows a search down.
    """
    ok = np.isfinite(records.latency_log)
    measured, heard = records.latency_log - records.draft_log, np.flatnonzero(ok)
    if not records.draft_log.any():
        heard = heard[np.argsort(measured[heard], kind="stable")[: (len(heard) + 1) // 2]]
    each, counts = np.zeros(words.shape[:2]), np.zeros(2)
    if len(heard) >= _FEWEST:
        each[0] = [rank_correlation(word[heard], measured[heard]) for word in words[0]]
        counts[0] = len(heard)
    if ok.sum() >= _FEWEST and not ok.all():
        each[1] = [rank_correlation(chance, ok.astype(np.float64)) for chance in words[1]]
        counts[1] = len(ok)
    return RankAgreement(each, counts)


def votes_of(
    sources: Sequence[Source], agreements: Mapping[str, RankAgreement], task: str, *, blind: bool
) -> Floats:
    """Of each source on a task, and on what fails of it: float64 [2, sources] in [0, 1].

    By its standing, what it said of the run's other tasks, and of this one. The vote fades, as the task has
    measurements of its own: the best of a device may lie where no other has it.
    """
    shrinkage, least = (_BLIND_SHRINKAGE, _LEAST_BLIND_VOTE) if blind else (_SHRINKAGE, _LEAST_VOTE)
    known = np.stack([source.standing for source in sources], axis=1) if sources else np.zeros((2, 0))
    others = [each for name, each in sorted(agreements.items()) if name != task]
    own = agreements.get(task, _joined([], len(sources)))
    for each in (_joined(others, len(sources)), own):
        counts = each.counts[:, None]
        known = (each.each * counts + shrinkage * known) / (counts + shrinkage)
    fading = _FADING / (_FADING + own.counts[:, None])
    votes: Floats = np.where(known > np.array([[least], [0.0]]), known**2, 0.0) * fading
    return votes


def weighed(words: Floats, votes: Floats) -> Floats:
    """Words [sources, n] by votes [sources]: their mean, drawn towards nothing as the votes are lost."""
    total = float(votes.sum())
    result: Floats = (
        (votes @ words) * (float(votes.max()) / total) if total > 0.0 else np.zeros(words.shape[1])
    )
    return result


def doubt_of(words: Floats, votes: Floats) -> Floats:
    """The spread of `weighed` words [n]: they hold with the chance that they have a vote, or say nothing."""
    most = float(votes.max(initial=0.0))
    return np.abs(weighed(words, votes)) * (np.sqrt((1.0 - most) / most) if most > 0.0 else 0.0)


def _joined(agreements: Sequence[RankAgreement], sources: int) -> RankAgreement:
    counts, each = np.zeros(2), np.zeros((2, sources))
    for one in agreements:
        counts = counts + one.counts
        each = each + one.each * one.counts[:, None]
    return RankAgreement(each / np.maximum(counts, 1.0)[:, None], counts)


def _standing(trees: Ensemble, feasibility: Feasibility, others: Sequence[TaskRecords]) -> Floats:
    """The rank correlation of a source on each of the `others`, which it did not see."""
    found = [agreement_of(_words(trees, feasibility, each.features)[:, None, :], each) for each in others]
    joined = _joined(found, 1)
    return np.where(joined.counts > 0.0, joined.each[:, 0], _UNTESTED)


def _within(records: Sequence[TaskRecords], seed: int, settings: EnsembleSettings) -> Floats:
    """The standing of the only source there is: each half of its tasks is ranked by the other."""
    halves = [list(records[::2]), list(records[1::2])]
    return _left_out(halves, seed, settings) if halves[1] else np.full(2, _UNTESTED)


def _left_out(groups: Sequence[Sequence[TaskRecords]], seed: int, settings: EnsembleSettings) -> Floats:
    """The standing of trees of all `groups`: each is ranked by trees of the others, of four at most."""
    found = []
    for held in range(min(_FOLDS, len(groups))):
        taught = [each for at, group in enumerate(groups) if at != held for each in group]
        fitted = fit_trees(taught, seed, settings)
        if fitted is not None:
            found.append(_standing(*fitted, groups[held]))
    return np.mean(found, axis=0) if found else np.full(2, _UNTESTED)
