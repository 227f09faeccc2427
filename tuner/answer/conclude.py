"""The end of a run: check the best Configs, confirm them, publish them, and measure the whole network."""

from collections.abc import Iterator
from functools import partial

from tilewright.compiler_core.errors import CheckError, DeviceError, ModelError, VerifyError
from tilewright.compiler_core.lowering.pipeline import Plan
from tilewright.db.records import Best, Verification
from tilewright.measure.farm.pool import CONFIRMATIONS, Pool
from tilewright.measure.objectives import values_of
from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.knobs import Config
from tilewright.tuner.answer.check import KernelCheck, check_network
from tilewright.tuner.answer.finalists import Value, in_order, median_of, settle
from tilewright.tuner.answer.report import Figures, Outcome
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.search import NetworkSearch
from tilewright.tuner.network.session import Choice, Dropped, Session
from tilewright.tuner.planning.side_by_side import PartPrices, share_cores

CHECKED = 4
"""How many of a kernel's best Configs are checked before its default is taken instead."""
FINALISTS = 8
"""How many of them are measured again, in turns, where the device is noisy."""
MOST_PLANS = 3
"""How many of the plans that were followed are measured whole, besides the default and what was known."""
HOPELESS = 1.1
"""A plan whose kernels add up to more than this times the best plan's is not measured whole."""


def choose_kernels(session: Session, search: NetworkSearch, pool: Pool) -> list[Plan]:
    """Settle the kernels of the most promising plans, and return these, best first.

    A kernel runs the best Config that is checked and confirmed, never a worse one than was known before. A
    plan with a kernel that has none is not among them. Behind them come those that promise to be faster with
    groups side by side.
    """
    session.spent |= search.spent
    session.readings_us = search.readings_us
    sums = [(search.sum_us(plan), -index) for index, plan in enumerate(search.plans)]
    least = min(sums)[0]
    plans = [search.plans[-index] for us, index in sorted(sums)[:MOST_PLANS] if us <= HOPELESS * least]
    for plan in plans:
        for task in session.planner.tasks_of(plan):
            if task.digest not in session.choices:
                choice = _choice(session, task, search, pool)
                session.choices |= {task.digest: choice} if choice else {}
    plans = [plan for plan in plans if set(plan.counts) <= set(session.choices)]
    return [*plans, *_side_by_side(session, search, plans)]


def _side_by_side(session: Session, search: NetworkSearch, plans: list[Plan]) -> Iterator[Plan]:
    """The plans with groups side by side, where that promises to be faster; `session.beside` fills."""
    tasks = {task.digest: task for plan in plans for task in session.planner.tasks_of(plan)}
    tried = {digest: tuple(_tried(session.choices[digest], search.ranked(digest))) for digest in tasks}
    prices = PartPrices(session.target, tasks, tried, session.seed)
    for shared in (share_cores(plan, prices) for plan in plans):
        if shared is not None:
            for co_placement, (us, config) in shared.co_placements.items():
                session.beside[co_placement] = Choice(config, us, "guessed")
            yield shared.plan


def _tried(choice: Choice, ranked: list[tuple[Config, Measurement]]) -> Iterator[tuple[float, Config]]:
    """What a kernel runs with alone, then what else was measured."""
    yield choice.latency_us, choice.config
    for config, measured in ranked:
        if measured.latency_us is not None:
            yield measured.latency_us, config


def _choice(session: Session, task: KernelTask, search: NetworkSearch, pool: Pool) -> Choice | None:
    session.recall((task,))
    known = session.known.get(task.digest)
    guess = session.planner.prices.kernels.get(task.digest)
    most = CHECKED if pool.info().deterministic else FINALISTS
    configs = [config for config, _ in search.ranked(task.digest)[:most]]
    if guess is not None and guess.guess is not None and known is None:
        configs.append(guess.guess)
    best = _published(session, task, configs, pool) or known
    if best is None:
        return None
    source = "database" if known is not None and best.config == known.config else "measured"
    return Choice(best.config, best.latency_us, source)


def _published(session: Session, task: KernelTask, configs: list[Config], pool: Pool) -> Best | None:
    """The kernel's best after the first of `configs` that computes the right numbers, keeps its time and is
    no slower than the default; else after the default. The default is measured as they are and recorded too.
    """
    check = KernelCheck(task.regions, session.target, session.seed)
    default, value = session.default_of(task), session.settings.objectives[0].of
    readings = _readings(task, configs, default, pool, value)
    of_default = next(readings)[1]
    bar, recorded = median_of(of_default, value), False
    for config, confirmations in readings:
        if median_of(confirmations, value) > bar or _fails(session, task, config, check):
            continue
        if not recorded:
            session.book.publish(task, default, of_default, Verification.NONE, default=True)
            recorded = True
        best = session.book.publish(task, config, confirmations, Verification.VALUE_EXACT)
        if best is not None:
            return best
    sound = not _fails(session, task, default, check)
    verification = Verification.VALUE_EXACT if sound else Verification.NONE
    return session.book.publish(task, default, of_default, verification, default=True)


def _fails(session: Session, task: KernelTask, config: Config, check: KernelCheck) -> bool:
    """Whether a kernel's Config must not be published; that is recorded, and told at the end of the run."""
    failed = check.failure(config)
    if failed is None:
        return False
    session.book.refuse(task, config, failed)
    name = session.plan.names_of_kernels.get(task.digest, task.ops_text)
    what = f"config {config.digest[:12]} of kernel {task.digest[:12]} ({name})"
    session.dropped.append(Dropped(what, failed.reason))
    return True


def _readings(
    task: KernelTask, configs: list[Config], default: Config, pool: Pool, value: Value
) -> Iterator[tuple[Config, list[Measurement]]]:
    """Fresh readings: of the default, then of `configs` in their order, or as a noisy device ranks them."""
    others = [config for config in dict.fromkeys(configs) if config != default]

    def confirm(config: Config, times: int = CONFIRMATIONS) -> list[Measurement]:
        return pool.confirm(task.workload, config, times)

    if pool.info().deterministic:
        yield default, confirm(default)
        for config in others:
            yield config, confirm(config)
        return
    settled = settle([*others, default], confirm, value)
    found = {finalist.config: list(finalist.readings) for finalist in settled}
    yield default, found.pop(default, []) or confirm(default)
    yield from found.items()


def conclude_network(session: Session, plans: list[Plan], pool: Pool) -> Outcome:
    """Measure the default, the plans as tuned and what was known whole; publish the best.

    The default, the known best and what was measured whole on the way are among them, so an answer never
    regresses.
    """
    task = session.network.task
    known = session.book.known_network()
    default = session.default_config
    configs = [default, *(session.config_of(plan) for plan in plans)]
    if known is not None:
        configs.append(known.config)
    of_default, *_ = session.book.measure_whole(configs, pool, session.bound_us)
    if of_default.status is not Status.OK:
        session.dropped.append(Dropped("the default schedule of the network", of_default.reason))
    wholes = session.book.wholes
    values = {
        # Of equals what is better in a front's other objectives, then the faster, then a checked one.
        config: (
            value,
            (values_of(measured, session.objectives) or (), measured.latency_us, config not in configs),
        )
        for config, measured in wholes.items()
        if (value := session.objective.of(measured)) is not None
    }
    readings = pool.confirm(task, default)
    bar, recorded = median_of(readings, session.objective.of), False
    confirmed = partial(pool.confirm, task)
    for config, confirmations in in_order(values, confirmed, session.objective.of, {default: readings}):
        if median_of(confirmations, session.objective.of) > bar:
            continue
        verification = sound_network(session, config)
        if verification is None:
            continue
        if config != default and not recorded:
            session.book.publish_network(default, readings, Verification.NONE, default=True)
            recorded = True
        best = session.book.publish_network(config, confirmations, verification, default=config == default)
        if best is not None:
            session.adopt(best.config)
            return _outcome(session, best)
    if not values or not session.dropped:
        why = of_default.reason or f"the device does not tell the {session.objective}"
        raise DeviceError(f"no schedule of {session.model.name} could be measured, nor its default: {why}")
    raise VerifyError(
        f"no schedule of {session.model.name} computes what the model says, nor its default:"
        f" {session.dropped[-1].reason}; all trials are recorded"
    )


def sound_network(session: Session, config: Config) -> Verification | None:
    """How a Config of the whole network was checked; None where that failed, which is recorded and told."""
    try:
        return check_network(session, config)
    except (CheckError, ModelError) as error:
        session.book.refuse(None, config, failure(Status.WRONG, str(error)))
        session.dropped.append(Dropped(f"schedule {config.digest[:12]} of the network", str(error)))
        return None


def _outcome(session: Session, best: Best) -> Outcome:
    """Where the default does not hold, the answer has nothing to be compared with but itself."""
    default = session.book.default_network() or best
    return Outcome(Figures.of_best(default), Figures.of_best(best), str(best.verification))


def recall_network(session: Session) -> Outcome | None:
    """What the database knows of the whole network, or None where it has no answer."""
    best = session.book.known_network()
    if best is None:
        return None
    session.adopt(best.config)
    return _outcome(session, best)
