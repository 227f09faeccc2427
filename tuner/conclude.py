"""The end of a run: check the best Configs, confirm them, publish them, and measure the whole network."""

from db.records import Verification
from measure.pool import Pool
from measure.results import Measurement, Status
from search_space.knobs import Config
from tuner.book import NETWORK_SPACE
from tuner.check import KernelCheck, check_network
from tuner.network_search import NetworkSearch
from tuner.problem import objective_value
from tuner.report import Figures, Outcome
from tuner.session import Choice, Session
from tuner.tasks import KernelTask

CHECKED = 4
"""How many of a kernel's best Configs are checked before its default is taken instead."""


def choose_kernels(session: Session, search: NetworkSearch, pool: Pool) -> None:
    """Settle every kernel: the best Config that is checked and confirmed, never worse than what was known."""
    session.spent |= search.spent
    for task in session.tasks:
        known = session.known.get(task.digest)
        found = _best_sound(session, task, search.ranked(task.digest), pool)
        if known is not None and (found is None or known.latency_us <= found.latency_us):
            session.choices[task.digest] = Choice(known.config, known.latency_us, "database")
        elif found is not None:
            session.choices[task.digest] = found
        else:
            session.choices[task.digest] = Choice(task.default, float("nan"), "default")


def _best_sound(
    session: Session, task: KernelTask, ranked: list[tuple[Config, Measurement]], pool: Pool
) -> Choice | None:
    """The first of the best few Configs that computes the right numbers and keeps its time, published."""
    if not ranked:
        return None
    check = KernelCheck(task.regions, session.target, session.seed)
    for config, _ in ranked[:CHECKED]:
        if check.objection(config):
            continue
        confirmations = pool.confirm(task.workload, config)
        if any(measured.status is not Status.OK for measured in confirmations):
            continue
        best = session.book.publish(
            task.digest, task.space.digest, config, confirmations, Verification.VALUE_EXACT
        )
        if best is not None:
            return Choice(best.config, best.latency_us, "measured")
    return None


def conclude_network(session: Session, pool: Pool) -> Outcome:
    """Measure the default and the tuned network whole, and publish the better; an answer never regresses."""
    objective = session.settings.objective
    task = session.network.task
    session.book.set_bound(task.digest, session.bound_us)
    configs = [session.default_config, session.tuned_config]
    known = session.book.known_network()
    if known is not None:
        configs.append(known.config)
    measured = pool.measure(task, configs, floor_us=session.bound_us)
    session.book.commit_network(list(zip(configs, measured, strict=True)))
    values = [objective_value(each, objective) for each in measured]
    ranked = sorted((value, at) for at, value in enumerate(values) if value is not None)
    verification = check_network(session, configs[ranked[0][1]])
    confirmations = pool.confirm(task, configs[ranked[0][1]])
    session.book.publish(task.digest, NETWORK_SPACE, configs[ranked[0][1]], confirmations, verification)
    return Outcome(Figures.of(measured[0]), Figures.of(measured[ranked[0][1]]), str(verification))


def recall_network(session: Session) -> Outcome | None:
    """What the database knows of the whole network, or None when that is not everything the report needs."""
    best = session.book.known_network()
    default = session.book.network_trial(session.default_config)
    if best is None or default is None or any(task.digest not in session.known for task in session.tasks):
        return None
    for task in session.tasks:
        known = session.known[task.digest]
        session.choices[task.digest] = Choice(known.config, known.latency_us, "database")
    tuned = Figures(best.latency_us, best.latency_cycles or 0.0, best.energy_uj, best.peak_bytes)
    return Outcome(Figures.of(default), tuned, str(best.verification))
