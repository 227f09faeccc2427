"""Demand is counted off the path of a lookup; what was flushed is there, and what was not is counted."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.db.samples import digest
from tilewright.compiler_core.errors import RecordError
from tilewright.db.demand import file as demand_file
from tilewright.db.demand.entries import Asked, Demandable, Served
from tilewright.db.demand.file import DemandFile
from tilewright.db.demand.recorder import Recorder


def asked(name: str, served: Served = Served.DEFAULT) -> Asked:
    return Asked(digest(name), digest("target"), "3", "latency", served.value)


def recorder(path: Path, **options: int) -> Recorder:
    return Recorder(path, every_s=3600.0, **options)  # type: ignore[arg-type]


def counts(path: Path) -> dict[str, int]:
    return {each.asked.workload_digest: each.count for each in DemandFile(path, read_only=True).rows()}


def test_lookups_add_up(tmp_path: Path) -> None:
    log = recorder(tmp_path / "d")
    for _ in range(2):
        log.note(asked("a"), 2.0)
        log.note(asked("a"), 4.0)
        log.note(asked("b", Served.MEASURED), 1.0)
        log.flush()
    rows = {each.asked: each for each in DemandFile(tmp_path / "d", read_only=True).rows()}
    assert (rows[asked("a")].count, rows[asked("a")].mean_us) == (4, 3.0)
    assert rows[asked("b", Served.MEASURED)].count == 2
    log.close()


def test_threads_and_processes_lose_nothing(tmp_path: Path) -> None:
    logs = [recorder(tmp_path / "d"), recorder(tmp_path / "d")]

    def ask(log: Recorder) -> None:
        for number in range(2_000):
            log.note(asked(str(number % 7)), 1.0)
            if number % 500 == 0:
                log.flush()

    threads = [threading.Thread(target=ask, args=(log,)) for log in logs * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for log in logs:
        log.close()
    assert sum(counts(tmp_path / "d").values()) == 8_000


def test_what_was_flushed_survives_a_kill(tmp_path: Path) -> None:
    program = f"""
import os, signal
from tests.db.demand.test_recorder import asked, recorder
from pathlib import Path
log = recorder(Path({str(tmp_path / "d")!r}))
for number in range(1000):
    log.note(asked(str(number % 10)), 1.0)
log.flush()
log.note(asked("late"), 1.0)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == -signal.SIGKILL
    assert sum(counts(tmp_path / "d").values()) == 1000


def test_a_process_writes_the_rest_when_it_ends(tmp_path: Path) -> None:
    program = """
from tests.db.demand.test_recorder import asked
from tilewright.db.demand.recorder import recorder_of_process
for _ in range(3):
    recorder_of_process().note(asked("a"), 1.0)
"""
    variable = {**os.environ, "TILEWRIGHT_DEMAND": str(tmp_path / "d")}
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3], check=True, env=variable)
    assert counts(tmp_path / "d") == {digest("a"): 3}


def test_a_full_queue_counts_and_never_waits(tmp_path: Path) -> None:
    log = recorder(tmp_path / "d", most_waiting=10)
    log._thread = threading.current_thread()  # nobody writes meanwhile
    for _ in range(25):
        log.note(asked("a"), 1.0)
    log.flush()
    totals = DemandFile(tmp_path / "d", read_only=True).totals()
    assert (totals["default"], totals["uncounted"]) == (10, 15)


def test_one_of_many_counts_as_many(tmp_path: Path) -> None:
    log = recorder(tmp_path / "d", sample=10)
    for _ in range(1_000):
        log.note(asked("a"), 2.0)
    log.flush()
    (row,) = DemandFile(tmp_path / "d", read_only=True).rows()
    assert (row.count, row.mean_us) == (1_000, 2.0)


def test_what_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    log = recorder(tmp_path / "folder" / "d")
    log.note(asked("a"), 1.0)
    with pytest.raises(RecordError, match=r"demand .*: unable to open"):
        log.flush()
    (tmp_path / "folder").mkdir()
    log.note(asked("a"), 1.0)
    log.flush()
    assert counts(tmp_path / "folder" / "d") == {digest("a"): 2}


def test_a_subject_is_described_once(tmp_path: Path) -> None:
    log, made = recorder(tmp_path / "d"), []

    def about() -> Demandable:
        made.append(1)
        return Demandable("net", "ascend310", model="/a/b.onnx", dims=(("batch", 4),), bound_us=2.5)

    for _ in range(3):
        log.note(asked("a"), 1.0)
        log.describe(digest("a"), about)
    log.flush()
    assert len(made) == 1
    file = DemandFile(tmp_path / "d", read_only=True)
    assert file.subject(digest("a")) == about()
    assert file.subject(digest("b")) is None


def test_what_is_asked_least_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demand_file, "MOST_ROWS", 20)
    monkeypatch.setattr(demand_file, "LOOKS_EVERY", 1)
    file = DemandFile(tmp_path / "d")
    file.add({asked("often"): (100, 1.0)})
    for number in range(60):
        file.add({asked(str(number)): (1, 1.0)})
    totals = file.totals()
    assert totals["default"] + totals["uncounted"] == 160
    assert len(counts(tmp_path / "d")) <= 20
    assert counts(tmp_path / "d")[digest("often")] == 100


def test_a_fork_does_not_write_what_waits_in_its_parent(tmp_path: Path) -> None:
    program = f"""
import os
from tests.db.demand.test_recorder import asked, recorder
from pathlib import Path
log = recorder(Path({str(tmp_path / "d")!r}))
log.note(asked("a"), 1.0)
if os.fork() == 0:
    log.note(asked("b"), 1.0)
    log.flush()
    os._exit(0)
os.wait()
log.flush()
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=Path(__file__).parents[3], check=True)
    assert counts(tmp_path / "d") == {digest("a"): 1, digest("b"): 1}


def test_another_version_and_damage_are_one_line(tmp_path: Path) -> None:
    DemandFile(tmp_path / "d").close()
    changed = sqlite3.connect(tmp_path / "d")
    changed.execute("PRAGMA user_version = 9")
    changed.commit()
    changed.close()
    with pytest.raises(RecordError, match="was written by another version"):
        DemandFile(tmp_path / "d")
    with pytest.raises(RecordError, match="there is no such file"):
        DemandFile(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()
