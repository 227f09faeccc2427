"""Answers without measuring: what the database knows, else the default or the best guess of the draft."""

import numpy as np

from search_space.knobs import Config
from search_space.moves import sample
from tuner.problem import trial_seed
from tuner.report import Figures, Outcome
from tuner.session import Choice, Session
from tuner.tasks import KernelTask

DRAWN = 4096


def guess_kernels(session: Session, *, use_database: bool) -> None:
    """Settle every kernel: -O0 takes the default, otherwise the database's best or the best draft of many."""
    for task in session.tasks:
        best = session.known.get(task.digest) if use_database else None
        if best is not None:
            session.choices[task.digest] = Choice(best.config, best.latency_us, "database")
        elif use_database:
            config = best_guess(task, session.seed)
            session.choices[task.digest] = Choice(config, draft_us(task, config), "guessed")
        else:
            session.choices[task.digest] = Choice(task.default, draft_us(task, task.default), "default")


def best_guess(task: KernelTask, seed: int) -> Config:
    """The Config of lowest draft among DRAWN random ones and the default; ties go to the first."""
    rng = np.random.default_rng(trial_seed(f"guess {task.digest}", seed))
    rows = np.concatenate([task.space.encode(task.default)[None, :], sample(task.space, DRAWN, rng)])
    return task.space.decode(rows[int(np.argmin(task.model.draft_log(rows)))])


def draft_us(task: KernelTask, config: Config) -> float:
    """The draft of one Config in microseconds."""
    return float(np.exp(task.model.draft_log(task.space.encode(config)[None, :])[0]))


def guess_network(session: Session) -> Outcome:
    """Figures of the network as sums of kernels; nothing was measured or checked."""
    default = sum(task.count * draft_us(task, task.default) for task in session.tasks)
    tuned = sum(task.count * session.choices[task.digest].latency_us for task in session.tasks)
    return Outcome(_figures(session, default), _figures(session, tuned), "none")


def _figures(session: Session, latency_us: float) -> Figures:
    return Figures(latency_us, latency_us * session.target.cycles_per_us)
