"""Records go out and come in, merge in any order, and stay what they were."""

import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.db.samples import (
    MODEL,
    TARGET,
    TOOLCHAIN,
    asked,
    confirmations,
    digest,
    failed,
    filled,
    key_of,
    prepared,
    trial,
    workload,
)
from tilewright.compiler_core.digest import canonical_json
from tilewright.compiler_core.errors import RecordError, UsageError
from tilewright.db.exchange.backup import backup, restore
from tilewright.db.exchange.best_file import export_best
from tilewright.db.exchange.entries import Entry, StoredRun, StoredTrial, identity, to_object
from tilewright.db.exchange.export import entries_of, export_records
from tilewright.db.exchange.lines import read_lines, write_lines
from tilewright.db.exchange.load import LoadCounts, import_records, load_entries, merge_database
from tilewright.db.exchange.t4 import Foreign, export_t4, import_t4
from tilewright.db.exchange.union import merge_files, union
from tilewright.db.records import ModelRow, Purpose, TargetRow, WorkloadKind
from tilewright.db.repository import Repository
from tilewright.db.retire import hide_stale, show_again
from tilewright.db.storage.session import Database, open_database
from tilewright.measure.results import Status
from tilewright.search_space.knobs import Knob
from tilewright.search_space.space import Space

REPLAY = Path(__file__).parents[2].parent / "shared" / "reference" / "replay"


def rich(repository: Repository) -> None:
    """Two finished runs, one open, failures, canaries, three workloads."""
    rows = [workload("a"), workload("b", ("LLB",)), workload("net", kind=WorkloadKind.GRAPH)]
    filled(repository, rows, uid="run-B")
    run = filled(repository, rows[:1], uid="run-a")
    open_run = prepared(repository, *rows, uid="Run-c")
    repository.commit_trials(
        [
            trial(open_run, 0, rows[1], failed()),
            trial(open_run, 0, rows[1], attempt=1),
            trial(open_run, 0, rows[1], purpose=Purpose.CANARY, bound_us=None),
        ]
    )
    assert run == "run-a"


def other_database(tmp_path: Path, name: str = "other") -> Database:
    return open_database(tmp_path / f"{name}.db")


def test_out_and_in_and_out_again_is_the_same_file(sqlite_database: Database, tmp_path: Path) -> None:
    rich(Repository(sqlite_database))
    written = export_records(sqlite_database, tmp_path / "first.jsonl")
    other = other_database(tmp_path)
    assert import_records(other, tmp_path / "first.jsonl") == LoadCounts(written.entries, 0)
    assert export_records(other, tmp_path / "second.jsonl") == written
    assert (tmp_path / "first.jsonl").read_bytes() == (tmp_path / "second.jsonl").read_bytes()
    assert import_records(other, tmp_path / "second.jsonl") == LoadCounts(0, written.entries)
    other.close()


def test_nobody_adds_to_a_run_that_is_still_going_on(sqlite_database: Database, tmp_path: Path) -> None:
    rich(Repository(sqlite_database))
    export_records(sqlite_database, tmp_path / "first.jsonl")
    more = StoredTrial(trial("Run-c", 5, workload("b", ("LLB",))), 100.0)
    entries = sorted([*read_lines(tmp_path / "first.jsonl"), more], key=identity)
    with pytest.raises(RecordError, match="still going on"):
        load_entries(sqlite_database, entries, "more")
    other = other_database(tmp_path)
    assert load_entries(other, entries, "more").new == len(entries)
    other.close()


def test_both_databases_write_the_same_file(
    sqlite_database: Database, postgres_database: Database, tmp_path: Path
) -> None:
    rich(Repository(sqlite_database))
    written = export_records(sqlite_database, tmp_path / "sqlite.jsonl")
    import_records(postgres_database, tmp_path / "sqlite.jsonl")
    assert export_records(postgres_database, tmp_path / "postgres.jsonl") == written
    assert merge_database(postgres_database, sqlite_database) == LoadCounts(0, written.entries)


def test_an_import_is_a_prior_until_it_is_measured_here(sqlite_database: Database, tmp_path: Path) -> None:
    row = workload("a")
    filled(Repository(sqlite_database), [row], uid="elsewhere")
    other = other_database(tmp_path)
    here = Repository(other)
    merge_database(sqlite_database, other)
    assert here.rebuild_best() == 0
    assert here.publish_best(key_of(row)) is None
    assert all(each.imported for each in here.trials_for([row.digest]))
    (claim,) = here.to_verify(TARGET.digest, TOOLCHAIN)
    run = prepared(here, row)
    here.commit_trials(confirmations(run, claim.trial.number, row, (10.5, 10.5, 10.5)))
    best = here.publish_best(key_of(row))
    assert best is not None
    assert best.run == run
    assert here.ledger(key_of(row)).trials == 0, "what others spent is not in our ledger"
    other.close()


def test_an_entry_from_before_protocols_is_the_same_entry(sqlite_database: Database, tmp_path: Path) -> None:
    """What it does not say is what it would hold: no line of an old file changes, nor does its digest."""
    repository = Repository(sqlite_database)
    row = workload("a")
    prepared(repository, row)
    old = repository.start_run(replace(asked("old"), protocol="")).uid
    repository.commit_trials([trial(old, 0, row), trial(old, 1, row, default=True)])
    export_records(sqlite_database, tmp_path / "all.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    values = [line["value"] for line in lines[1:] if line["kind"] in ("run", "trial")]
    assert ["protocol" in each for each in values if each.get("uid") == "old"] == [False]
    assert ["default" in each for each in values if "number" in each] == [False, True]
    other = other_database(tmp_path)
    import_records(other, tmp_path / "all.jsonl")
    export_records(other, tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "all.jsonl").read_bytes()
    other.close()


# Union

ROWS = [workload("a"), workload("b")]


def _pool() -> list[Entry]:
    """Entries of two runs that never contradict each other; each part of a merge takes some of them."""
    trials = [
        StoredTrial(trial(run, number, ROWS[number % 2]), 100.0 + number)
        for run in ("run-1", "run-2")
        for number in range(6)
    ]
    runs = [StoredRun(asked(uid), 50.0) for uid in ("run-1", "run-2")]
    return [TARGET, MODEL, *ROWS, *runs, *trials]


POOL = _pool()
NEEDED = 6  # targets, models, workloads and runs are in every part, as in every file


@st.composite
def parts(draw: st.DrawFn) -> list[Entry]:
    chosen = draw(st.sets(st.sampled_from(range(NEEDED, len(POOL)))))
    names = draw(st.sampled_from(["resnet50", "ResNet", "model (1)"]))
    head: list[Entry] = [
        ModelRow(MODEL.digest, names) if entry is MODEL else entry for entry in POOL[:NEEDED]
    ]
    return sorted([*head, *(POOL[index] for index in chosen)], key=identity)


def texts(entries: Sequence[Entry]) -> list[str]:
    return [canonical_json(to_object(entry)) for entry in entries]


@settings(max_examples=120, deadline=None)
@given(parts(), parts(), parts())
def test_union_is_commutative_associative_idempotent(
    one: list[Entry], two: list[Entry], three: list[Entry]
) -> None:
    check_union(one, two, three)


def check_union(one: list[Entry], two: list[Entry], three: list[Entry]) -> None:
    together = texts(list(union([one, two, three])))
    for order in itertools.permutations([one, two, three]):
        assert texts(list(union(order))) == together
    assert texts(list(union([list(union([one, two])), three]))) == together
    assert texts(list(union([one, list(union([two, three]))]))) == together
    assert texts(list(union([one, one]))) == texts(one)
    assert set(together) <= set(texts(one)) | set(texts(two)) | set(texts(three))


@settings(max_examples=50, deadline=None)
@given(parts(), st.integers(NEEDED, len(POOL) - 1), st.randoms(use_true_random=False))
def test_contradicting_parts_merge_in_no_order(part: list[Entry], at: int, order: random.Random) -> None:
    honest = POOL[at]
    assert isinstance(honest, StoredTrial)
    altered = StoredTrial(honest.trial, honest.created_at_s + 1.0)
    sources: list[list[Entry]] = [part, [honest], [altered]]
    order.shuffle(sources)
    with pytest.raises(RecordError, match="different content"):
        list(union(sources))


def test_databases_end_up_alike_in_whatever_order_files_came(tmp_path: Path) -> None:
    files = []
    for number in range(3):
        chosen = [*POOL[:NEEDED], *POOL[NEEDED + number :: 2]]
        files.append(tmp_path / f"part{number}.jsonl")
        write_lines(files[-1], sorted(chosen, key=identity))
    merged = merge_files(files, tmp_path / "merged.jsonl")
    for order in itertools.permutations(files):
        name = "-".join(path.stem for path in order)
        assert merge_files(order, tmp_path / f"{name}.jsonl") == merged
        database = other_database(tmp_path, name)
        for path in order:
            import_records(database, path)
        assert export_records(database, tmp_path / "again.jsonl") == merged
        database.close()


# T4

SPACE = Space((Knob("tile", (16, 32, 64)), Knob("unroll", (True, False), ordered=False)))
FOREIGN = Foreign(SPACE, TargetRow(digest("a gpu"), "a gpu", ""), "t4")


def t4(results: list[dict[str, object]], unit: str = "milliseconds") -> str:
    return json.dumps({"metadata": {"timeunit": unit}, "results": results})


def result(tile: float = 16, time: object = 1.5, **more: object) -> dict[str, object]:
    return {
        "configuration": {"tile": tile, "unroll": True},
        "times": {"runtimes": [1.4, 1.6]},
        "invalidity": "correct",
        "correctness": 1,
        "measurements": [{"name": "time", "value": time, "unit": ""}],
        "objectives": ["time"],
        **more,
    }


def test_t4_in_and_out(sqlite_database: Database, tmp_path: Path) -> None:
    path = tmp_path / "table.T4.json"
    wrong = result(32.0, correctness=0)
    late = result(64, invalidity="timeout")
    path.write_text(t4([result(), wrong, late]))
    assert import_t4(sqlite_database, path, FOREIGN).new == 6
    assert import_t4(sqlite_database, path, FOREIGN) == LoadCounts(0, 6)
    rows = Repository(sqlite_database).trials_for([SPACE.digest])
    assert [row.trial.measurement.status for row in rows] == [Status.OK, Status.WRONG, Status.TIMEOUT]
    assert rows[0].trial.measurement.latency_us == 1500.0
    assert rows[0].imported
    assert SPACE.contains(rows[1].trial.config)
    assert export_t4(rows, tmp_path / "out.T4.json") == 3
    other = other_database(tmp_path)
    import_t4(other, tmp_path / "out.T4.json", FOREIGN)
    again = Repository(other).trials_for([SPACE.digest])
    assert [row.trial.config for row in again] == [row.trial.config for row in rows]
    assert [row.trial.measurement.latency_us for row in again] == [1500.0, None, None]
    other.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        t4([result(), result(17)]),
        t4([result(time=0)]),
        t4([result(time=-1.0)]),
        t4([result(time="fast")]),
        t4([result(time=True)]),
        t4([result()], unit="fortnights"),
        t4([result(invalidity="excellent")]),
        t4([result(measurements=[])]),
        t4([result(configuration={"tile": 16, "unroll": True, "extra": 1})]),
        t4([{"measurements": []}]),
        '{"results":' + "[" * 5000 + "]" * 5000 + "}",
        t4([result()]).replace("1.5", "NaN"),
    ],
)
def test_a_bad_t4_leaves_nothing(text: str, sqlite_database: Database, tmp_path: Path) -> None:
    path = tmp_path / "bad.T4.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=r"bad\.T4\.json.*nothing was taken"):
        import_t4(sqlite_database, path, FOREIGN)
    assert all(count == 0 for _, count in Repository(sqlite_database).stats().rows)


def test_a_published_table_comes_in(sqlite_database: Database) -> None:
    if not REPLAY.is_dir():
        pytest.skip(f"NO REFERENCE DATA at {REPLAY}: no published T4 table was read")
    from tilewright.search_space.t1 import load_t1

    space = load_t1(REPLAY / "convolution.T1.json")
    loaded = import_t4(
        sqlite_database, REPLAY / "convolution_a100.T4.json.gz", Foreign(space, FOREIGN.target, "t4")
    )
    rows = Repository(sqlite_database).trials_for([space.digest])
    assert len(rows) == loaded.new - 3 > 1000


# Answers alone, backup, hiding


def test_answers_ship_in_one_read_only_file(sqlite_database: Database, tmp_path: Path) -> None:
    rows = [workload("a"), workload("b")]
    repository = Repository(sqlite_database)
    filled(repository, rows)
    directory = tmp_path / "it's 100% #1?"
    directory.mkdir()
    path = directory / "best.db"
    assert export_best(sqlite_database, path, TARGET.digest, TOOLCHAIN) == 2
    assert export_best(sqlite_database, tmp_path / "none.db", toolchain="timeline-2") == 0
    assert [entry.name for entry in directory.iterdir()] == ["best.db"]
    path.chmod(0o444)
    shipped = open_database(path, read_only=True)
    answers = Repository(shipped)
    assert [answers.best(key_of(row)) for row in rows] == [repository.best(key_of(row)) for row in rows]
    assert dict(answers.stats().rows)["trial"] == 0
    with pytest.raises(RecordError, match="read-only"):
        answers.rebuild_best()
    shipped.close()
    assert [entry.name for entry in directory.iterdir()] == ["best.db"]


@pytest.mark.parametrize("source", ["sqlite_database", "postgres_database"])
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_backup_and_restore(source: str, kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    database: Database = request.getfixturevalue(source)
    repository = Repository(database)
    rich(repository)
    before = export_records(database, tmp_path / "before.jsonl")
    assert backup(database, tmp_path / "backup.db") > before.entries
    with pytest.raises(RecordError, match="not empty"):
        restore(tmp_path / "backup.db", database)
    url = str(tmp_path / "new.db") if kind == "sqlite" else request.getfixturevalue("new_postgres_url")()
    restored = open_database(url)
    restore(tmp_path / "backup.db", restored)
    assert export_records(restored, tmp_path / "after.jsonl") == before
    again = Repository(restored)
    assert again.stats() == repository.stats()
    assert list(again.all_best()) == list(repository.all_best())
    again.commit_trials([trial("Run-c", 99, workload("a"))])
    assert again.start_run(asked("Run-d")).uid == "Run-d"
    restored.close()


def test_stale_runs_are_hidden_and_shown_again(sqlite_database: Database, tmp_path: Path) -> None:
    repository = Repository(sqlite_database)
    kept, stale = workload("kept"), workload("stale")
    filled(repository, [kept, stale], uid="old-both")
    filled(repository, [stale], uid="old")
    assert hide_stale(sqlite_database, "timeline-2") == []
    newer = asked("new")
    repository.start_run(type(newer)(**{**vars(newer), "toolchain": "timeline-2"}))
    repository.commit_trials(confirmations("new", 0, stale))
    key = key_of(stale)
    repository.publish_best(type(key)(key.workload_digest, key.target_digest, "timeline-2"))
    before = list(repository.all_best())
    everything = export_records(sqlite_database, tmp_path / "all.jsonl")
    assert hide_stale(sqlite_database, "timeline-2") == ["old"]
    assert len(repository.trials_for([stale.digest])) == 4
    assert export_records(sqlite_database, tmp_path / "shown.jsonl").entries < everything.entries
    assert export_records(sqlite_database, tmp_path / "again.jsonl", include_hidden=True) == everything
    after = list(repository.all_best())
    repository.rebuild_best()
    assert list(repository.all_best()) == after
    assert len(repository.trials_of_run("old")) == 4, "hidden, not deleted"
    show_again(sqlite_database, ["old"])
    assert list(repository.all_best()) == before


def test_entries_come_sorted(sqlite_database: Database) -> None:
    rich(Repository(sqlite_database))
    places = [identity(entry) for entry in entries_of(sqlite_database)]
    assert places == sorted(set(places))


def test_a_database_with_a_log_beside_it_is_not_replaced(sqlite_database: Database, tmp_path: Path) -> None:
    """SQLite would apply the changes of the old file to the new one."""
    path = tmp_path / "best.db"
    export_best(sqlite_database, path)
    before = path.read_bytes()
    Path(f"{path}-wal").write_bytes(b"changes")
    with pytest.raises(UsageError, match=r"best\.db-wal holds changes"):
        export_best(sqlite_database, path)
    assert path.read_bytes() == before
