"""A SQLite file under a running program: deleted, replaced, damaged, or on media that cannot be written."""

import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.db.samples import config, digest, filled, key_of, prepared, trial, workload
from tilewright.compiler_core.errors import RecordError
from tilewright.db.layers.selectors import SelectorRow, Selectors
from tilewright.db.repository import Repository
from tilewright.db.storage import sqlite_file
from tilewright.db.storage.session import Database, DatabaseDownError, open_database

ROW = workload()


def delete(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    open_database(path.with_name("new.db")).close()
    path.with_name("new.db").replace(path)


@pytest.mark.parametrize("change", [delete, replace])
def test_nothing_is_acknowledged_into_a_file_that_is_gone(
    change: Callable[[Path], None], sqlite_database: Database, tmp_path: Path
) -> None:
    repository = Repository(sqlite_database)
    run = prepared(repository, ROW)
    repository.commit_trials([trial(run, 0, ROW)])
    path = Path(sqlite_database.name)
    kept = path.with_name("kept.db")
    kept.hardlink_to(path)
    change(path)
    for verb in (lambda: repository.commit_trials([trial(run, 1, ROW)]), lambda: repository.run(run)):
        with pytest.raises(DatabaseDownError, match="deleted or replaced"):
            verb()
    kept.replace(path)  # put back, it goes on
    repository.commit_trials([trial(run, 1, ROW)])
    assert len(repository.trials_of_run(run)) == 2


def test_a_file_that_goes_in_the_middle_of_a_transaction(sqlite_database: Database) -> None:
    repository = Repository(sqlite_database)
    run = prepared(repository, ROW)
    with pytest.raises(DatabaseDownError, match="deleted or replaced"):
        repository.commit_trials([trial(run, 0, ROW)], lambda connection: Path(sqlite_database.name).unlink())


def damaged(path: Path, page: int, generator: np.random.Generator) -> Path:
    """A copy with one page of noise."""
    copy = path.with_name("damaged.db")
    shutil.copy(path, copy)
    with copy.open("r+b") as file:
        file.seek(page * 4096)
        file.write(generator.bytes(4096))
    return copy


def test_a_damaged_page_is_not_read_as_if_it_were_whole(sqlite_database: Database) -> None:
    """33 of 40 reads over a damaged file were answered as if nothing were wrong."""
    repository = Repository(sqlite_database)
    filled(repository, [workload(f"kernel {number}") for number in range(8)])
    path = Path(sqlite_database.name)
    sqlite_database.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    generator = np.random.default_rng(0)
    pages = path.stat().st_size // 4096
    for page in generator.choice(pages, min(pages, 40), replace=False):
        with pytest.raises(RecordError) as found:
            open_database(damaged(path, int(page), generator), read_only=True)
        assert "\n" not in str(found.value)
    open_database(path, read_only=True).close()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("config", '{"tile_m\x07'),
        ("config", "[]"),
        ("config", b'{"tile_m": \xff\xfe}'),
        ("verification", "value.exact"),
        ("verification", b"value\xffexact"),
    ],
)
def test_a_row_that_makes_no_sense_is_one_line(
    column: str, value: str | bytes, sqlite_database: Database
) -> None:
    """Damage inside a page, where the structure of the file is whole."""
    filled(Repository(sqlite_database), [ROW])
    with sqlite3.connect(sqlite_database.name) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        text = "CAST(? AS TEXT)" if isinstance(value, bytes) else "?"
        connection.execute(f"UPDATE best SET {column} = {text}", (value,))
    connection.close()
    with pytest.raises(RecordError, match="damaged, restore it from a backup") as found:
        Repository(sqlite_database).best(key_of(ROW))
    assert not isinstance(found.value, DatabaseDownError)
    assert str(found.value).isprintable()


def test_a_large_file_is_checked_when_somebody_asks(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening stays fast; `tune serve`, `tune runner` and `tune db verify` ask."""
    filled(Repository(sqlite_database), [ROW])
    path = Path(sqlite_database.name)
    sqlite_database.close()
    monkeypatch.setattr("tilewright.db.storage.session.CHECKED_AT_OPEN_BYTES", 0)
    with sqlite3.connect(path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'trial'").fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    opened = open_database(damaged(path, page - 1, np.random.default_rng(1)), read_only=True)
    with pytest.raises(RecordError, match="restore it from a backup"):
        opened.require_sound()
    opened.close()
    assert sqlite_file.CHECKED_AT_OPEN_BYTES > 0


def test_lookups_on_read_only_media(tmp_path: Path) -> None:
    mounted = tmp_path / "media"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tilewright-test", str(mounted)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("NO FILE SYSTEM CAN BE MOUNTED HERE: read-only media were not tried")
    try:
        database = open_database(mounted / "tuning.db")
        filled(Repository(database), [ROW])
        database.close()
        subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
        opened = open_database(mounted / "tuning.db", read_only=True)
        assert Repository(opened).best(key_of(ROW)) is not None
        opened.close()
        with pytest.raises(RecordError, match=r"readonly|unable to open"):
            open_database(mounted / "tuning.db")
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("best", "latency_us = latency_us * 0.5"),
        ("best", "config = config || ' '"),
        ("best", "confirmations = confirmations + 1"),
        ("trial", "latency_us = latency_us * 0.5"),
        ("trial", "config = config || ' '"),
        ("selector", "high = high + 1"),
        ("selector", "config = config || ' '"),
    ],
)
def test_a_value_that_changed_in_the_file_is_no_answer(
    table: str, change: str, sqlite_database: Database
) -> None:
    """A changed byte inside a value, which no check of pages sees; rows of earlier versions are believed."""
    repository, selectors = Repository(sqlite_database), Selectors(sqlite_database)
    run = filled(repository, [ROW])
    selectors.publish(key_of(ROW), "seq", [SelectorRow(1, 8, config(1), digest("space"))])
    before = (
        repository.best(key_of(ROW)),
        repository.trials_of_run(run, None),
        selectors.intervals(key_of(ROW), "seq"),
    )

    def changed(what: str) -> None:
        with sqlite3.connect(sqlite_database.name) as connection:
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            ).fetchall():
                connection.execute(f"DROP TRIGGER {name}")  # damage asks no trigger
            connection.execute(f"UPDATE {table} SET {what}")
        connection.close()

    def read() -> None:
        repository.best(key_of(ROW))
        repository.trials_of_run(run, None)
        selectors.intervals(key_of(ROW), "seq")

    changed(change)
    with pytest.raises(RecordError, match=f"table {table} is not as it was written"):
        read()
    assert all(before)
    changed("seal = NULL")
    read()
