"""When a search ends, and why: a pure function of its progress."""

from dataclasses import dataclass
from enum import StrEnum


class StopReason(StrEnum):
    """Why a search ended; goes into the report."""

    BUDGET = "budget"
    TIME_LIMIT = "time_limit"
    PATIENCE = "patience"
    REGRET = "regret"
    BOUND = "bound"
    EXHAUSTED = "exhausted"
    CANCELLED = "cancelled"
    DATABASE = "database"
    UNMEASURED = "unmeasured"
    OF_RANGE = "of_range"

    @property
    def text(self) -> str:
        """The reason for people."""
        return _TEXTS[self]


_TEXTS = {
    StopReason.BUDGET: "the budget of trials is spent",
    StopReason.TIME_LIMIT: "the time limit was reached",
    StopReason.PATIENCE: "many trials in a row brought nothing better",
    StopReason.REGRET: "with the confidence asked for, nothing much better is left to find",
    StopReason.BOUND: "the answer is as fast as the bound allows",
    StopReason.EXHAUSTED: "no config is left that could be better",
    StopReason.CANCELLED: "somebody cancelled it",
    StopReason.DATABASE: "the database knew the answer; nothing was measured",
    StopReason.UNMEASURED: "nothing was to be measured",
    StopReason.OF_RANGE: "a tuned range of sizes holds this one; nothing was measured",
}


@dataclass(frozen=True)
class StopRule:
    """Limits of a search. None switches a limit off.

    `regret` with `confidence`: stop once P(best is within `regret` of the optimum) >= `confidence`, and the
    search has gone on for `settle` trials, and for a third of all of them, since it last found a better one:
    whoever looks after every batch finds a moment that seems sure too early.
    """

    max_trials: int = 256
    patience: int | None = None
    time_limit_s: float | None = None
    regret: float | None = None
    confidence: float = 0.95
    settle: int = 48


@dataclass(frozen=True)
class Progress:
    """Where a search stands.

    `since_best` counts trials after the best one; `p_within` is the estimated probability that the best is
    within the rule's regret of the optimum, 0 while the search is not settled.
    """

    trials: int
    since_best: int
    elapsed_s: float
    p_within: float
    at_bound: bool


def stop_reason(rule: StopRule, progress: Progress) -> StopReason | None:
    """The first limit that is met, or None to go on."""
    if progress.at_bound:
        return StopReason.BOUND
    if progress.trials >= rule.max_trials:
        return StopReason.BUDGET
    if rule.time_limit_s is not None and progress.elapsed_s >= rule.time_limit_s:
        return StopReason.TIME_LIMIT
    if rule.regret is not None and progress.p_within >= rule.confidence:
        return StopReason.REGRET
    if rule.patience is not None and progress.since_best >= rule.patience:
        return StopReason.PATIENCE
    return None


def settled(rule: StopRule, trials: int, since_best: int) -> bool:
    """Whether the search has gone on for long enough since it last found a better one."""
    return since_best >= max(rule.settle, trials // 3)
