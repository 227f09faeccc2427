"""Kills, crowds, full disks and unusable files: nothing acknowledged is lost, errors are one line."""

import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import event, text

from tests.db.campaigns import contend, kill_writers
from tests.db.samples import filled, prepared, trial, workload
from tilewright.compiler_core.errors import RecordError
from tilewright.db.exchange.backup import backup
from tilewright.db.exchange.export import export_records
from tilewright.db.repository import Repository
from tilewright.db.storage.session import Database, open_database

ROW = workload()


def test_killed_writers_lose_nothing_they_acknowledged(url: str) -> None:
    kills = kill_writers(url, kills=20, seed=1)
    assert (kills.lost, kills.torn_batches, kills.integrity) == (0, 0, "ok")
    assert kills.acknowledged > 0


def test_eight_writers_and_two_readers(url: str) -> None:
    contention = contend(url, seconds=1.0)
    assert contention.errors == ()
    assert contention.lost == 0
    assert contention.committed > 0
    assert contention.reads > 0


def test_processes_may_create_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    program = f"from tilewright.db.storage.session import open_database; open_database({str(path)!r}).close()"
    root = Path(__file__).parents[3]
    creators = [subprocess.Popen([sys.executable, "-c", program], cwd=root) for _ in range(4)]
    assert [creator.wait() for creator in creators] == [0, 0, 0, 0]
    database = open_database(path)
    filled(Repository(database), [ROW])
    database.close()


def commit_until_refused(repository: Repository, run: str, first: int) -> tuple[int, str]:
    """The first number that was not acknowledged, and why."""
    number = first
    try:
        while number < first + 100_000:
            repository.commit_trials([trial(run, number + index, ROW) for index in range(64)])
            number += 64
    except RecordError as error:
        return number, str(error)
    return number, ""


def check_full_disk(database: Database, free_space: Callable[[], None]) -> None:
    repository = Repository(database)
    run = prepared(repository, ROW)
    number, reason = commit_until_refused(repository, run, 0)
    assert "free some space" in reason
    assert "\n" not in reason
    assert len(repository.trials_of_run(run)) == number, "an acknowledged trial is gone, or another one there"
    assert database.ask(text("PRAGMA integrity_check"))[0][0] == "ok"
    free_space()
    repository.commit_trials([trial(run, number + index, ROW) for index in range(64)])
    assert len(repository.trials_of_run(run)) == number + 64


def test_a_file_that_may_not_grow_is_a_full_disk(sqlite_database: Database) -> None:
    limit = [100]

    def limit_pages(connection: sqlite3.Connection, *rest: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {limit[0]}")

    event.listen(sqlite_database.engine, "checkout", limit_pages)
    check_full_disk(sqlite_database, lambda: limit.__setitem__(0, 10_000))


def test_a_full_disk(tmp_path: Path) -> None:
    mounted = tmp_path / "small"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tilewright-test", str(mounted)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("NO FILE SYSTEM CAN BE MOUNTED HERE: a full disk was tried by a limit on pages only")
    try:
        ballast = mounted / "ballast"
        ballast.write_bytes(bytes(1 << 20))
        database = open_database(mounted / "tuning.db")
        check_full_disk(database, ballast.unlink)
        database.close()
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)


def test_backup_under_load(sqlite_database: Database, tmp_path: Path) -> None:
    repository = Repository(sqlite_database)
    run = prepared(repository, ROW)
    stop = threading.Event()
    committed: list[int] = []

    def write() -> None:
        while not stop.is_set():
            first = len(committed) * 8
            repository.commit_trials([trial(run, first + index, ROW) for index in range(8)])
            committed.append(first)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(committed) < 3:
            stop.wait(0.001)
        before = len(committed)
        backup(sqlite_database, tmp_path / "backup.db")
        after = len(committed) + 1
    finally:
        stop.set()
        writer.join()
    copy = open_database(tmp_path / "backup.db", read_only=True)
    saved = Repository(copy).trials_of_run(run)
    assert before * 8 <= len(saved) <= after * 8
    assert len(saved) % 8 == 0
    assert saved == repository.trials_of_run(run)[: len(saved)]
    copy.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:////nonexistent/directory/tuning.db", "directory exists"),
        (":memory:", "in memory"),
        ("sqlite://", "in memory"),
        ("mysql://somebody:secret@host/name", "use a file path"),
        ("postgresql://somebody:secret@127.0.0.1:1/name", "failed|refused"),
        ("sqlite:///a b\x00c", "NUL"),
        ("not a url://", "cannot be read"),
    ],
)
def test_an_unusable_url_is_one_line_without_passwords(url: str, reason: str) -> None:
    with pytest.raises(RecordError, match=reason) as raised:
        open_database(url)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_files_that_are_no_databases_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, " * 100)
    with pytest.raises(RecordError, match="not a database"):
        open_database(path)
    assert path.read_text() == "these are my notes, " * 100
    with pytest.raises(RecordError, match="no such file"):
        open_database(tmp_path / "nothing.db", read_only=True)
    assert not (tmp_path / "nothing.db").exists()
    with pytest.raises(RecordError, match=f"{tmp_path}' is a folder; give a file in it"):
        open_database(tmp_path)


def test_a_damaged_file_is_one_line(sqlite_database: Database) -> None:
    filled(Repository(sqlite_database), [workload(f"w{number}") for number in range(40)])
    sqlite_database.ask(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    sqlite_database.close()
    path = Path(sqlite_database.name)
    data = bytearray(path.read_bytes())
    data[4096 * 2 :] = bytes(len(data) - 4096 * 2)
    path.write_bytes(data)
    with pytest.raises(RecordError) as raised:  # noqa: PT012 - wherever the damage shows
        damaged = open_database(path)
        export_records(damaged, path.with_suffix(".jsonl"))
    assert "\n" not in str(raised.value)
