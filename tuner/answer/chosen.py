"""The Configs of the kernels of the most promising plans: checked, confirmed, published."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tilewright.compiler_core.lowering.pipeline import CoPlacement, Plan
from tilewright.db.records import Best, Verification
from tilewright.measure.farm.pool import Pool
from tilewright.measure.results import Measurement
from tilewright.search_space.knobs import Config
from tilewright.tuner.answer.check import KernelCheck
from tilewright.tuner.answer.finalists import Value, freshly_read, median_of
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.assignment import Assignment, Choice
from tilewright.tuner.network.searched import Searched
from tilewright.tuner.planning.side_by_side import PartPrices, share_cores

CHECKED = 4
"""The most of a kernel's best Configs that are checked before its default is taken instead."""
FINALISTS = 8
"""The number of them that are measured again, in turns, where the device is noisy."""
MOST_PLANS = 3
"""The most of the followed plans that are measured whole, besides the default and the known best."""
HOPELESS = 1.1
"""A plan whose kernels add up to more than this times the best plan's is not measured whole."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """The most promising `plans` of a search, best first, and the choices for their kernels."""

    searched: Searched
    plans: tuple[Plan, ...]
    choices: Mapping[str, Choice]
    beside: Mapping[CoPlacement, Choice]

    @property
    def assignments(self) -> tuple[Assignment, ...]:
        """Each plan with its Configs."""
        opened = self.searched.opened
        return tuple(Assignment(opened, plan, self.choices, self.beside) for plan in self.plans)


def choose_kernels(searched: Searched) -> Chosen:
    """Settle the kernels of the most promising plans.

    A kernel runs the best Config that is checked and confirmed, never a worse one than was known before. A
    plan with a kernel that has none is not among them. Behind them come those that promise to be faster with
    groups side by side.
    """
    opened, search = searched.opened, searched.search
    sums = [(search.sum_us(plan), -index) for index, plan in enumerate(search.plans)]
    least = min(sums)[0]
    plans = [search.plans[-index] for us, index in sorted(sums)[:MOST_PLANS] if us <= HOPELESS * least]
    tasks = {task.digest: task for plan in plans for task in opened.planner.tasks_of(plan)}
    chosen = ((digest, _choice(searched, task)) for digest, task in tasks.items())
    choices = {digest: choice for digest, choice in chosen if choice is not None}
    plans = [plan for plan in plans if set(plan.counts) <= set(choices)]
    shared, beside = _side_by_side(searched, plans, choices)
    return Chosen(searched, (*plans, *shared), choices, beside)


def _side_by_side(
    searched: Searched, plans: Sequence[Plan], choices: Mapping[str, Choice]
) -> tuple[list[Plan], dict[CoPlacement, Choice]]:
    """The plans with groups side by side, where that promises to be faster, and the choices there."""
    opened, search = searched.opened, searched.search
    tasks = {task.digest: task for plan in plans for task in opened.planner.tasks_of(plan)}
    tried = {digest: tuple(_tried(choices[digest], search.ranked(digest))) for digest in tasks}
    prices = PartPrices(opened.target, tasks, tried, opened.seed)
    shared = [found for plan in plans if (found := share_cores(plan, prices)) is not None]
    return [found.plan for found in shared], {
        co_placement: Choice(config, us, "guessed")
        for found in shared
        for co_placement, (us, config) in found.co_placements.items()
    }


def _tried(choice: Choice, ranked: list[tuple[Config, Measurement]]) -> Iterator[tuple[float, Config]]:
    """A kernel's choice alone on the chip, then its other measured Configs."""
    yield choice.latency_us, choice.config
    for config, measured in ranked:
        if measured.latency_us is not None:
            yield measured.latency_us, config


def _choice(searched: Searched, task: KernelTask) -> Choice | None:
    known = searched.opened.records.best_of(task)
    guess = searched.opened.planner.prices.kernels.get(task.digest)
    most = CHECKED if searched.book.pool.info().deterministic else FINALISTS
    configs = [config for config, _ in searched.search.ranked(task.digest)[:most]]
    if guess is not None and guess.guess is not None and known is None:
        configs.append(guess.guess)
    best = _published(searched, task, configs) or known
    if best is None:
        return None
    source = "database" if known is not None and best.config == known.config else "measured"
    return Choice(best.config, best.latency_us, source)


def _published(searched: Searched, task: KernelTask, configs: list[Config]) -> Best | None:
    """The kernel's best after the first of `configs` that computes the right numbers, keeps its time and is
    no slower than the default; else after the default. The default is measured as they are and recorded too.
    """
    opened, book = searched.opened, searched.book
    check = KernelCheck(task.regions, opened.target, opened.seed)
    default, value = opened.default_of(task), opened.settings.objectives[0].of
    readings = _readings(task, configs, default, book.pool, value)
    of_default = next(readings)[1]
    bar, recorded = median_of(of_default, value), False
    for config, confirmations in readings:
        if median_of(confirmations, value) > bar or _fails(searched, task, config, check):
            continue
        if not recorded:
            book.publish(task, default, of_default, Verification.NONE, default=True)
            recorded = True
        best = book.publish(task, config, confirmations, Verification.VALUE_EXACT)
        if best is not None:
            return best
    sound = not _fails(searched, task, default, check)
    verification = Verification.VALUE_EXACT if sound else Verification.NONE
    return book.publish(task, default, of_default, verification, default=True)


def _fails(searched: Searched, task: KernelTask, config: Config, check: KernelCheck) -> bool:
    """Whether a kernel's Config must not be published; a failure is recorded, and reported at the end of the
    run.
    """
    failed = check.failure(config)
    if failed is None:
        return False
    name = searched.search.plan.names_of_kernels.get(task.digest, task.ops_text)
    what = f"config {config.digest[:12]} of kernel {task.digest[:12]} ({name})"
    searched.book.refuse(what, task, config, failed)
    return True


def _readings(
    task: KernelTask, configs: list[Config], default: Config, pool: Pool, value: Value
) -> Iterator[tuple[Config, list[Measurement]]]:
    """Fresh readings: of the default, then of `configs` in their order, or as a noisy device ranks them."""
    confirm = partial(pool.confirm, task.workload)
    if not pool.info().deterministic:
        yield from freshly_read(configs, default, confirm, value, len(configs))
        return
    for config in dict.fromkeys([default, *configs]):
        yield config, confirm(config)
