"""Answers without measuring: what the database knows, else the default or the best guess of the draft."""

from tuner.prices import draft_us
from tuner.report import Figures, Outcome
from tuner.session import Choice, Session


def guess_kernels(session: Session, *, use_database: bool) -> None:
    """Settle the kernels of the plan: -O0 takes defaults, otherwise the database's best or the best guess."""
    for task in session.tasks:
        best = session.known.get(task.digest) if use_database else None
        if best is not None:
            session.choices[task.digest] = Choice(best.config, best.latency_us, "database")
        elif use_database:
            priced = session.planner.prices.priced(task.workload)
            assert priced.guess is not None, "a kernel of a plan fits"
            session.choices[task.digest] = Choice(priced.guess, priced.guess_us, "guessed")
        else:
            session.choices[task.digest] = Choice(task.default, draft_us(task, task.default), "default")


def guess_network(session: Session) -> Outcome:
    """Figures of the network as sums of kernels; nothing was measured or checked."""
    base = session.planner.base
    default = sum(
        base.counts[task.digest] * draft_us(task, task.default) for task in session.planner.tasks_of(base)
    )
    tuned = sum(count * session.choices[digest].latency_us for digest, count in session.plan.counts.items())
    return Outcome(_figures(session, default), _figures(session, tuned), "none")


def _figures(session: Session, latency_us: float) -> Figures:
    return Figures(latency_us, latency_us * session.target.cycles_per_us)
