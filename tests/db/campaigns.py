"""Writers that are killed and writers that compete: short in test_durability, long in test_campaigns."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext

from sqlalchemy import text

from tests.db.samples import confirmations, key_of, prepared, trial, workload
from tilewright.db.repository import Repository
from tilewright.db.storage.session import Database, open_database

BATCH = 8
ROW = workload("campaign")
SEARCHED = text(
    "SELECT count(*) FROM trial JOIN run ON run.id = trial.run_id "
    "WHERE run.uid = :uid AND trial.purpose = 'search'"
)


@dataclass(frozen=True)
class Kills:
    """What was left after killing a writer again and again."""

    kills: int
    acknowledged: int
    lost: int
    torn_batches: int
    integrity: str


@dataclass(frozen=True)
class Contention:
    """What many writers and readers did to each other."""

    seconds: float
    committed: int
    lost: int
    reads: int
    errors: tuple[str, ...]


def processes() -> ForkServerContext:
    """Children that start in milliseconds, because a server has imported everything before."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.db.campaigns"])
    return context


def write_for_ever(url: str, run: str, number: int, acknowledged: Connection) -> None:
    """Commits batch after batch; says the last number of each once it is durable."""
    repository = Repository(open_database(url))
    while True:
        repository.commit_trials([trial(run, number + index, ROW) for index in range(BATCH)])
        number += BATCH
        acknowledged.send(number)
        if number % (4 * BATCH) == 0:
            repository.commit_trials(confirmations(run, number, ROW))


def kill_writers(url: str, kills: int, seed: int) -> Kills:
    """Kills a writer at `kills` random moments and compares what it said with what is there."""
    rng = random.Random(seed)
    context = processes()
    database = open_database(url)
    repository = Repository(database)
    run = prepared(repository, ROW)
    acknowledged = 0
    torn = 0
    for _ in range(kills):
        here, there = context.Pipe(duplex=False)
        _wait_for_the_dead(database)
        present = database.ask(SEARCHED, {"uid": run})[0][0]
        torn += present % BATCH != 0
        writer = context.Process(target=write_for_ever, args=(url, run, present, there))
        writer.start()
        there.close()
        here.poll(20.0)  # it has begun
        time.sleep(rng.uniform(0.0, 0.05))
        if writer.pid is not None:
            os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        for number in _said(here):
            acknowledged = max(acknowledged, number)
    _wait_for_the_dead(database)
    numbers = {row.trial.number for row in repository.trials_of_run(run)}
    integrity = "ok"
    if database.on_sqlite:
        integrity = str(database.ask(text("PRAGMA integrity_check"))[0][0])
    before = list(repository.all_best())
    repository.rebuild_best()
    if list(repository.all_best()) != before:
        integrity = "best differs when rebuilt"
    database.close()
    return Kills(kills, acknowledged, len(set(range(acknowledged)) - numbers), torn, integrity)


def _wait_for_the_dead(database: Database) -> None:
    """A server goes on for a moment with what a killed client asked of it last."""
    others = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle'"
    )
    while not database.on_sqlite and database.ask(others)[0][0]:
        time.sleep(0.001)


def _said(pipe: Connection) -> Iterator[int]:
    """Everything that arrived whole before the end of the pipe."""
    try:
        while True:
            yield pipe.recv()
    except (EOFError, OSError):
        pipe.close()


def _write(url: str, run: str, seconds: float, answer: Connection) -> None:
    database = open_database(url)
    repository = Repository(database)
    number, errors = 0, []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            repository.commit_trials([trial(run, number + index, ROW) for index in range(BATCH)])
            number += BATCH
        except Exception as error:  # noqa: BLE001 - whatever it is, the report shows it
            errors.append(repr(error))
    database.close()
    answer.send((number, errors))


def _read(url: str, run: str, seconds: float, answer: Connection) -> None:
    database = open_database(url)
    repository = Repository(database)
    reads, errors = 0, []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            repository.best(key_of(ROW))
            if reads % 50 == 0 and len(repository.trials_of_run(run)) % BATCH:
                errors.append("a reader saw half a batch")
            reads += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, the report shows it
            errors.append(repr(error))
    database.close()
    answer.send((reads, errors))


def contend(url: str, seconds: float, writers: int = 8, readers: int = 2) -> Contention:
    """Writers and readers, each a process of its own, at one database for a while."""
    context = processes()
    database = open_database(url)
    repository = Repository(database)
    runs = [prepared(repository, ROW) for _ in range(writers)]
    tasks = [(_write, run) for run in runs] + [(_read, runs[0])] * readers
    pipes = []
    for work, run in tasks:
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=work, args=(url, run, seconds, there))
        child.start()
        there.close()
        pipes.append((child, here))
    answers = []
    for child, here in pipes:
        answers.append(here.recv())
        child.join()
        here.close()
    committed = sum(count for count, _ in answers[:writers])
    present = sum(len(repository.trials_of_run(run)) for run in runs)
    database.close()
    return Contention(
        seconds,
        committed,
        committed - present,
        sum(count for count, _ in answers[writers:]),
        tuple(error for _, errors in answers for error in errors),
    )
