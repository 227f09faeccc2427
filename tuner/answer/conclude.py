"""The end of a run: check the best Configs, confirm them, publish them, and measure the whole network."""

from collections.abc import Iterator

from tilewright.compiler_core.lowering.pipeline import Plan
from tilewright.db.records import Verification
from tilewright.measure.farm.pool import Pool
from tilewright.measure.results import Measurement, Status
from tilewright.search_space.knobs import Config
from tilewright.tuner.answer.check import KernelCheck, check_network
from tilewright.tuner.answer.finalists import settle
from tilewright.tuner.answer.report import Figures, Outcome
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.search import NetworkSearch
from tilewright.tuner.network.session import Choice, Session
from tilewright.tuner.network.side_by_side import Seats, share_cores

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
    sums = [(search.sum_us(plan), -at) for at, plan in enumerate(search.plans)]
    least = min(sums)[0]
    plans = [search.plans[-at] for us, at in sorted(sums)[:MOST_PLANS] if us <= HOPELESS * least]
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
    seats = Seats(session.target, tasks, tried, session.seed)
    for shared in (share_cores(plan, seats) for plan in plans):
        if shared is not None:
            for seat, (us, config) in shared.seats.items():
                session.beside[seat] = Choice(config, us, "guessed")
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
    found = _best_sound(session, task, configs, pool)
    if known is not None and (found is None or known.latency_us <= found.latency_us):
        return Choice(known.config, known.latency_us, "database")
    return found


def _best_sound(session: Session, task: KernelTask, configs: list[Config], pool: Pool) -> Choice | None:
    """The first of `configs` that computes the right numbers and keeps its time, published."""
    if not configs:
        return None
    check = KernelCheck(task.regions, session.target, session.seed)
    for config, confirmations in _confirmed(session, task, configs, pool):
        if check.objection(config):
            continue
        best = session.book.publish(task, config, confirmations, Verification.VALUE_EXACT)
        if best is not None:
            return Choice(best.config, best.latency_us, "measured")
    return None


def _confirmed(
    session: Session, task: KernelTask, configs: list[Config], pool: Pool
) -> Iterator[tuple[Config, list[Measurement]]]:
    """`configs` with fresh readings, none of them failed: in their order, or as a noisy device ranks them."""

    def confirm(config: Config, times: int) -> list[Measurement]:
        return pool.confirm(task.workload, config, times)

    if pool.info().deterministic:
        for config in configs:
            readings = pool.confirm(task.workload, config)
            if all(measured.status is Status.OK for measured in readings):
                yield config, readings
        return
    for finalist in settle(configs, confirm, session.settings.objectives[0].of):
        yield finalist.config, list(finalist.readings)


def conclude_network(session: Session, plans: list[Plan], pool: Pool) -> Outcome:
    """Measure the default, the plans as tuned and what was known whole; publish the best.

    The default and the known best are among them, so an answer never regresses.
    """
    task = session.network.task
    session.book.set_bound(task.digest, session.bound_us)
    known = session.book.known_network()
    configs = [session.default_config, *(session.config_of(plan) for plan in plans)]
    if known is not None:
        configs.append(known.config)
    configs = list(dict.fromkeys(configs))
    measured = pool.measure(task, configs, floor_us=session.bound_us)
    session.book.commit_network(list(zip(configs, measured, strict=True)))
    values = [session.objective.of(each) for each in measured]
    ranked = sorted((value, at) for at, value in enumerate(values) if value is not None)
    best = configs[ranked[0][1]]
    verification = check_network(session, best)
    confirmations = pool.confirm(task, best)
    session.book.publish_network(best, confirmations, verification)
    session.adopt(best)
    return Outcome(Figures.of(measured[0]), Figures.of(measured[ranked[0][1]]), str(verification))


def recall_network(session: Session) -> Outcome | None:
    """What the database knows of the whole network, or None when that is not everything the report needs."""
    best = session.book.known_network()
    default = session.book.network_trial(session.default_config)
    if best is None or default is None:
        return None
    session.adopt(best.config)
    tuned = Figures(best.latency_us, best.latency_cycles or 0.0, best.energy_uj, best.peak_bytes)
    return Outcome(Figures.of(default), tuned, str(best.verification))
