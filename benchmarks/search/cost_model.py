"""The model bench: how well tasks are ranked whose records were left out, by shape and by target.

Every fixed kernel and its sibling shapes give a task; its Configs are drawn at random, half of them from the
better half by draft, and measured on its skewed chip. `shapes`: every fifth of the tasks is left out in turn.
`targets`: every target is left out in turn. Nothing of a task left out is seen, as before its first trial.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.search.kernel_tasks import CASES, Case
from tilewright.cost_model.learned.ensemble import EnsembleSettings, Features, Floats
from tilewright.cost_model.learned.ranking import fit_pairwise, fit_plain
from tilewright.cost_model.learned.residual import TaskRecords, fit_residual
from tilewright.cost_model.learned.scores import rank_correlation, top_k_score
from tilewright.search_space.moves import sample
from tilewright.tuner.kernel.problem import Problem, trial_seed
from tilewright.tuner.kernel.task import KernelTask

CONFIGS, QUICK_CONFIGS, FOLDS, TOP = 200, 60, 5, 5
TOP_GOAL = 0.97
METHODS = ("tilewright", "draft", "plain", "pairwise")
Scorer = Callable[[TaskRecords], Floats]


@dataclass(frozen=True, eq=False)
class Sample:
    """Records of one task and where it belongs."""

    target: str
    kernel: str
    records: TaskRecords
    reference: Features


def bench_model(quick: bool = False, seed: int = 0, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Top-5 score and rank correlation: our model, the draft alone, plain regression, pairwise ranking."""
    samples = _samples(QUICK_CONFIGS if quick else CONFIGS, seed, quick)
    rows: list[dict[str, Any]] = []
    for split, folds in _splits(samples).items():
        for fold, (taught, held) in enumerate(folds):
            for method, scorer in _scorers(taught, trial_seed(f"{split}/{fold}", seed)).items():
                rows += [_row(split, method, each, scorer(each.records)) for each in held]
        for method in METHODS:
            say(_line(split, method, rows))
    return {"bench": "model", "summary": _summary(rows), "rows": rows}


def _samples(count: int, seed: int, quick: bool) -> list[Sample]:
    made = []
    for case in CASES[::3] if quick else CASES:
        tasks = [("", case.task()), *((f"/{index}", t) for index, t in enumerate(case.sibling_tasks(), 1))]
        made += [_sample(case, task, f"{case.key}{name}", count, seed) for name, task in tasks]
    return made


def _sample(case: Case, task: KernelTask, name: str, count: int, seed: int) -> Sample:
    problem = task.problem()
    rng = np.random.default_rng(trial_seed(name, seed))
    drawn = sample(task.space, 2 * count, rng)
    better_first = np.argsort(problem.drafts(drawn), kind="stable")
    half = len(drawn) // 2
    chosen = np.concatenate(
        [rng.permutation(part)[: count // 2] for part in (better_first[:half], better_first)]
    )
    rows = drawn[np.unique(chosen)]
    answers = case.device().measure(task.workload, [task.space.decode(row) for row in rows])
    latency = np.log([answer.latency_us or np.nan for answer in answers])
    records = TaskRecords(task.digest, problem.feature_function(rows), problem.drafts(rows), latency)
    return Sample(case.target, name, records, _reference(problem))


def _reference(problem: Problem) -> Features:
    return problem.reference_features[:32]


def _splits(samples: Sequence[Sample]) -> Mapping[str, list[tuple[list[Sample], list[Sample]]]]:
    targets = sorted({each.target for each in samples})
    # A kernel that two cases share must not be taught and held back at once.
    digests = sorted({each.records.task for each in samples})
    fold_of = {digest: index % FOLDS for index, digest in enumerate(digests)}
    return {
        "shapes": [
            _split(samples, [fold_of[s.records.task] == fold for s in samples]) for fold in range(FOLDS)
        ],
        "targets": [_split(samples, [s.target == target for s in samples]) for target in targets],
    }


def _split(samples: Sequence[Sample], held: Sequence[bool]) -> tuple[list[Sample], list[Sample]]:
    pairs = list(zip(samples, held, strict=True))
    return [s for s, out in pairs if not out], [s for s, out in pairs if out]


def _scorers(taught: Sequence[Sample], seed: int) -> Mapping[str, Scorer]:
    """From a task's records (whose latencies they do not look at) to scores: the lower, the faster."""
    shipped = replace(EnsembleSettings(), max_rows=1 << 30)
    # More and deeper trees rank better without a draft; behind one they learn what is peculiar to its errors.
    larger = replace(shipped, rounds=100, depth=6)
    records = [each.records for each in taught]
    reference = np.concatenate([each.reference for each in taught])
    ours = fit_residual(records, reference, seed, shipped)
    assert ours is not None, "too few measurements succeeded"
    plain, pairwise = fit_plain(records, seed, larger), fit_pairwise(records, seed, larger)
    return {
        "tilewright": lambda r: ours.predict(r.task, r.features, r.draft_log).mean_log,
        "draft": lambda r: r.draft_log,
        "plain": lambda r: plain.predict(r.features)[0],
        "pairwise": lambda r: pairwise.predict(r.features)[0],
    }


def _row(split: str, method: str, held: Sample, score: Floats) -> dict[str, Any]:
    ok = np.isfinite(held.records.latency_log)
    measured = held.records.latency_log[ok]
    return {
        "split": split,
        "task": held.kernel,
        "method": method,
        "configs": int(ok.sum()),
        "top5": round(top_k_score(score[ok], measured, TOP), 4),
        "rank": round(rank_correlation(score[ok], measured), 4),
    }


def _mean(rows: Sequence[dict[str, Any]], split: str, method: str, figure: str) -> float:
    return float(np.mean([r[figure] for r in rows if (r["split"], r["method"]) == (split, method)]))


def _line(split: str, method: str, rows: Sequence[dict[str, Any]]) -> str:
    top, rank = (_mean(rows, split, method, figure) for figure in ("top5", "rank"))
    return f"{split:8} {method:12} top-5 {top:.3f}  rank {rank:.3f}"


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    summary = {}
    for split in ("shapes", "targets"):
        plain = round(_mean(rows, split, "plain", "rank"), 4)
        for method in METHODS:
            top, rank = (round(_mean(rows, split, method, figure), 4) for figure in ("top5", "rank"))
            own = method == METHODS[0]
            summary[f"{split}/{method}/top5"] = {
                "value": top,
                "goal": TOP_GOAL if own else None,
                "ok": top >= TOP_GOAL if own else True,
            }
            summary[f"{split}/{method}/rank"] = {
                "value": rank,
                "goal": plain if own else None,
                "ok": rank > plain if own else True,
            }
    return summary
