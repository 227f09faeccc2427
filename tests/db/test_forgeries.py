"""Files that lie: each is refused with its line number, and leaves nothing behind."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pytest

from tests.db.samples import TOOLCHAIN, digest, filled, key_of, workload
from tilewright.compiler_core.digest import canonical_json, digest_of
from tilewright.compiler_core.errors import RecordError
from tilewright.db.exchange.entries import to_object
from tilewright.db.exchange.export import entries_of, export_records
from tilewright.db.exchange.lines import Bounds, read_lines
from tilewright.db.exchange.load import LoadCounts, import_records, merge_database
from tilewright.db.repository import Repository
from tilewright.db.storage.session import Database, open_database

Lines: TypeAlias = list[dict[str, Any]]
Forge: TypeAlias = Callable[[Lines], None]

ROW = workload()


class Refuse(Protocol):
    def __call__(self, data: bytes, bounds: Bounds | None = None) -> str: ...


HEADER, TARGET_LINE, MODEL_LINE, WORKLOAD_LINE, RUN_LINE, FINISH_LINE, TRIAL_LINE = range(7)
LAST = 14  # the number of the end's line


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    directory = tmp_path_factory.mktemp("honest")
    database = open_database(directory / "source.db")
    filled(Repository(database), [ROW], uid="run-1")
    export_records(database, directory / "records.jsonl")
    database.close()
    return (directory / "records.jsonl").read_bytes()


def sealed(lines: Lines) -> bytes:
    """The lines as a careful forger writes them: every digest is right again."""
    total = hashlib.sha256()
    for line in lines[1:-1]:
        line["digest"] = digest_of([line["kind"], line["value"]])
        total.update(bytes.fromhex(line["digest"]))
    lines[-1] = {"kind": "end", "value": {"entries": len(lines) - 2}, "digest": total.hexdigest()}
    return b"".join(canonical_json(line).encode() + b"\n" for line in lines)


def setting(line: int, **values: Any) -> Forge:
    def forge(lines: Lines) -> None:
        lines[line]["value"].update(values)

    return forge


def dropping(line: int, name: str) -> Forge:
    def forge(lines: Lines) -> None:
        del lines[line]["value"][name]

    return forge


def renaming(line: int, old: str, new: str) -> Forge:
    def forge(lines: Lines) -> None:
        lines[line]["value"][new] = lines[line]["value"].pop(old)

    return forge


def _two_lines(lines: Lines) -> None:
    lines.insert(TRIAL_LINE, json.loads(json.dumps(lines[TRIAL_LINE])))


def _another_latency_for_one_key(lines: Lines) -> None:
    twin = json.loads(json.dumps(lines[TRIAL_LINE]))
    twin["value"].update(latency_us=5.0, samples_us=[5.0])
    lines.insert(TRIAL_LINE + 1, twin)


def _swapped(lines: Lines) -> None:
    lines[TRIAL_LINE], lines[TRIAL_LINE + 1] = lines[TRIAL_LINE + 1], lines[TRIAL_LINE]


def _future_format(lines: Lines) -> None:
    lines[HEADER]["schema"] = 2


def _other_format(lines: Lines) -> None:
    lines[HEADER]["format"] = "metaschedule"


def _header_with_more(lines: Lines) -> None:
    lines[HEADER]["units"] = "seconds"


def _unknown_kind(lines: Lines) -> None:
    lines[TRIAL_LINE]["kind"] = "best"


def _part_of_line_missing(lines: Lines) -> None:
    del lines[TRIAL_LINE]["value"]["config"]
    lines[TRIAL_LINE]["value"] = [1, 2]


def _without_target(lines: Lines) -> None:
    del lines[TARGET_LINE]


def _without_workload(lines: Lines) -> None:
    del lines[WORKLOAD_LINE]


def _without_run(lines: Lines) -> None:
    del lines[RUN_LINE]


def _config(*knobs: list[Any]) -> Forge:
    def forge(lines: Lines) -> None:
        value = lines[TRIAL_LINE]["value"]
        value["config"] = list(knobs)
        if all(len(knob) == 2 and isinstance(knob[0], str) for knob in knobs):
            value["config_digest"] = digest_of(dict(tuple(knob) for knob in knobs))

    return forge


RESEALED: dict[str, tuple[Forge, int]] = {
    "zero latency": (setting(TRIAL_LINE, latency_us=0.0), TRIAL_LINE),
    "negative latency": (setting(TRIAL_LINE, latency_us=-3.5), TRIAL_LINE),
    "latency as text": (setting(TRIAL_LINE, latency_us="10"), TRIAL_LINE),
    "latency as true": (setting(TRIAL_LINE, latency_us=True), TRIAL_LINE),
    "latency without a unit's fraction": (setting(TRIAL_LINE, latency_us=10), TRIAL_LINE),
    "latency below the bound": (setting(TRIAL_LINE, latency_us=0.5, samples_us=[0.5]), TRIAL_LINE),
    "latency far from its samples": (setting(TRIAL_LINE, latency_us=2.0), TRIAL_LINE),
    "ok without latency": (setting(TRIAL_LINE, latency_us=None, samples_us=[]), TRIAL_LINE),
    "failure with latency": (setting(TRIAL_LINE, status="failed"), TRIAL_LINE),
    "negative sample": (setting(TRIAL_LINE, samples_us=[-1.0]), TRIAL_LINE),
    "samples in an object": (setting(TRIAL_LINE, samples_us={"a": 1.0}), TRIAL_LINE),
    "negative energy": (setting(TRIAL_LINE, energy_uj=-1.0), TRIAL_LINE),
    "negative peak": (setting(TRIAL_LINE, peak_bytes=-1), TRIAL_LINE),
    "half a byte": (setting(TRIAL_LINE, peak_bytes=0.5), TRIAL_LINE),
    "negative bound": (setting(TRIAL_LINE, bound_us=-1.0), TRIAL_LINE),
    "negative seed": (setting(TRIAL_LINE, seed=-1), TRIAL_LINE),
    "seed of 64 bits": (setting(TRIAL_LINE, seed=2**63), TRIAL_LINE),
    "negative number": (setting(TRIAL_LINE, number=-1), TRIAL_LINE),
    "unknown status": (setting(TRIAL_LINE, status="perfect"), TRIAL_LINE),
    "unknown verification": (setting(TRIAL_LINE, verification="believe me"), TRIAL_LINE),
    "unknown purpose": (setting(TRIAL_LINE, purpose="best"), TRIAL_LINE),
    "wrong units": (renaming(TRIAL_LINE, "latency_us", "latency_ms"), TRIAL_LINE),
    "a field too many": (setting(TRIAL_LINE, imported=False), TRIAL_LINE),
    "a field too few": (dropping(TRIAL_LINE, "seed"), TRIAL_LINE),
    "value that is no object": (_part_of_line_missing, TRIAL_LINE),
    "wrong config digest": (setting(TRIAL_LINE, config_digest=digest("x")), TRIAL_LINE),
    "config with a knob twice": (_config(["tile", 1], ["tile", 2]), TRIAL_LINE),
    "config with a list": (_config(["tile", [1, 2]]), TRIAL_LINE),
    "config that is no pairs": (_config(["tile"]), TRIAL_LINE),
    "config with nothing": (_config(["tile", None]), TRIAL_LINE),
    "short digest": (setting(TRIAL_LINE, space_digest="abc"), TRIAL_LINE),
    "digest in capitals": (setting(TRIAL_LINE, space_digest=digest("x").upper()), TRIAL_LINE),
    "SQL in a worker's name": (setting(TRIAL_LINE, worker="w'; DROP TABLE trial; --"), TRIAL_LINE),
    "NUL in a reason": (setting(TRIAL_LINE, reason="a\0b"), TRIAL_LINE),
    "half a character in a reason": (setting(TRIAL_LINE, reason="\ud800"), TRIAL_LINE),
    "HTML in a target's name": (setting(TARGET_LINE, name="<script>alert(1)</script>"), TARGET_LINE),
    "SQL in a model's name": (setting(MODEL_LINE, name='m"; DELETE FROM best'), MODEL_LINE),
    "a model's name of 10,000 letters": (setting(MODEL_LINE, name="m" * 10_000), MODEL_LINE),
    "body that is no JSON": (setting(WORKLOAD_LINE, body="__import__('os')"), WORKLOAD_LINE),
    "body with NaN": (setting(WORKLOAD_LINE, body='{"dims":[NaN]}'), WORKLOAD_LINE),
    "body nested deep": (setting(WORKLOAD_LINE, body="[" * 5000 + "]" * 5000), WORKLOAD_LINE),
    "unknown kind of workload": (setting(WORKLOAD_LINE, kind="magic"), WORKLOAD_LINE),
    "unknown objective": (setting(RUN_LINE, objective="fame"), RUN_LINE),
    "uid with a path": (setting(RUN_LINE, uid="../../etc"), RUN_LINE),
    "toolchain with a line break": (setting(RUN_LINE, toolchain="1\n2"), RUN_LINE),
    "protocol with HTML": (setting(RUN_LINE, protocol="<b>"), RUN_LINE),
    "a default that is a number": (setting(TRIAL_LINE, default=1), TRIAL_LINE),
    "a default said to be none": (setting(TRIAL_LINE, default=False), TRIAL_LINE),
    "negative regret": (setting(FINISH_LINE, regret_estimate=-0.5), FINISH_LINE),
    "finish of another run": (setting(FINISH_LINE, run="run-2"), FINISH_LINE),
    "trial of another run": (setting(TRIAL_LINE, run="run-2"), TRIAL_LINE),
    "line twice": (_two_lines, TRIAL_LINE + 1),
    "duplicate key": (_another_latency_for_one_key, TRIAL_LINE + 1),
    "lines swapped": (_swapped, TRIAL_LINE + 1),
    "future version": (_future_format, HEADER),
    "file of somebody else": (_other_format, HEADER),
    "header with more": (_header_with_more, HEADER),
    "unknown kind of line": (_unknown_kind, TRIAL_LINE),
    "target left out": (_without_target, RUN_LINE - 1),
    "workload left out": (_without_workload, TRIAL_LINE - 1),
    "run left out": (_without_run, RUN_LINE),
}


def _byte_flipped(data: bytes) -> bytes:
    at = data.index(b'"latency_us":') + len(b'"latency_us":')
    return data[:at] + b"9" + data[at + 1 :]


def _line(data: bytes, number: int, new: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    lines[number] = new
    return b"".join(lines)


RAW: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    "empty file": (lambda data: b"", 1),
    "not text": (lambda data: _line(data, TRIAL_LINE, b"\xff\xfe\x00\n"), TRIAL_LINE + 1),
    "a pickle": (lambda data: b"\x80\x04\x95\x00\n" + data, 1),
    "digest of other content": (_byte_flipped, TRIAL_LINE + 1),
    "line cut off": (lambda data: data[: data.rindex(b"\n", 0, -1) - 20], LAST - 1),
    "end cut off": (lambda data: data[:-1], LAST),
    "end missing": (lambda data: data[: data.rindex(b"\n", 0, -1) + 1], LAST),
    "a line lost": (lambda data: _line(data, TRIAL_LINE, b""), LAST - 1),
    "more after the end": (lambda data: data + b"{}\n", LAST + 1),
    "deep JSON": (
        lambda data: _line(data, TRIAL_LINE, b"[" * 100_000 + b"]" * 100_000 + b"\n"),
        TRIAL_LINE + 1,
    ),
    "deep objects": (
        lambda data: _line(data, TRIAL_LINE, b'{"a":' * 3000 + b"1" + b"}" * 3000 + b"\n"),
        TRIAL_LINE + 1,
    ),
    "NaN": (
        lambda data: _line(data, TRIAL_LINE, b'{"kind":"trial","value":{"latency_us":NaN}}\n'),
        TRIAL_LINE + 1,
    ),
    "infinity by exponent": (lambda data: _line(data, TRIAL_LINE, b'{"value":1e999}\n'), TRIAL_LINE + 1),
    "integer of a million digits": (
        lambda data: _line(data, TRIAL_LINE, b'{"value":' + b"9" * 1_000_000 + b"}\n"),
        TRIAL_LINE + 1,
    ),
    "name twice in one object": (
        lambda data: _line(data, TRIAL_LINE, b'{"kind":"trial","kind":"model"}\n'),
        TRIAL_LINE + 1,
    ),
    "a list for a line": (lambda data: _line(data, TRIAL_LINE, b"[]\n"), TRIAL_LINE + 1),
    "an empty line": (lambda data: _line(data, TRIAL_LINE, b"\n"), TRIAL_LINE + 1),
}


@pytest.fixture(scope="module")
def refuse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refuse]:
    """The reason, after checking that nothing came in and nothing is served."""
    directory = tmp_path_factory.mktemp("here")
    database = open_database(directory / "here.db")
    repository = Repository(database)

    def refused(data: bytes, bounds: Bounds | None = None) -> str:
        path = directory / "forged.jsonl"
        path.write_bytes(data)
        with pytest.raises(RecordError) as raised:
            import_records(database, path, bounds=bounds)
        assert all(count == 0 for _, count in repository.stats().rows)
        assert repository.best(key_of(ROW)) is None
        return one_line(str(raised.value))

    yield refused
    database.close()


def one_line(message: str) -> str:
    assert "\n" not in message
    assert len(message) < 500
    return message


def test_the_honest_file_is_taken(honest: bytes, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(honest)
    assert sealed([json.loads(line) for line in honest.splitlines()]) == honest
    database = open_database(tmp_path / "here.db")
    assert import_records(database, path).new == len(honest.splitlines()) - 2
    assert Repository(database).rebuild_best() == 0, "an import is believed without measuring"
    assert len(Repository(database).trials_for([ROW.digest])) == 4
    assert len(Repository(database).to_verify(key_of(ROW).target_digest, TOOLCHAIN)) == 1
    database.close()


@pytest.mark.parametrize("kind", RESEALED)
def test_a_careful_forger_is_refused(kind: str, honest: bytes, refuse: Refuse) -> None:
    forge, line = RESEALED[kind]
    lines = [json.loads(text) for text in honest.splitlines()]
    forge(lines)
    assert f"line {line + 1}: " in refuse(sealed(lines))


@pytest.mark.parametrize("kind", RAW)
def test_a_broken_file_is_refused(kind: str, honest: bytes, refuse: Refuse) -> None:
    forge, number = RAW[kind]
    assert f"line {number}: " in refuse(forge(honest))


def test_size_is_bounded(honest: bytes, refuse: Refuse) -> None:
    longest = max(map(len, honest.splitlines()))
    assert "line is longer" in refuse(honest, Bounds(line_bytes=longest - 10))
    assert "larger than" in refuse(honest, Bounds(file_bytes=len(honest) - 1))


def test_the_caller_may_object(honest: bytes, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(honest)
    database = open_database(tmp_path / "here.db")
    outside = "config lies outside the space"
    with pytest.raises(RecordError, match=f"line {TRIAL_LINE + 1}: {outside}"):
        import_records(database, path, lambda entry: outside if type(entry).__name__ == "StoredTrial" else "")
    assert all(count == 0 for _, count in Repository(database).stats().rows)
    database.close()


def test_a_workload_that_is_not_its_digest_is_refused_whole(honest: bytes, tmp_path: Path) -> None:
    forged = [json.loads(text) for text in honest.splitlines()]
    path = tmp_path / "records.jsonl"
    database = open_database(tmp_path / "here.db")
    path.write_bytes(honest)
    import_records(database, path)
    before = Repository(database).stats()
    forged[WORKLOAD_LINE]["value"]["body"] = '{"op":"other"}'
    path.write_bytes(sealed(forged))
    with pytest.raises(RecordError, match=f"line {WORKLOAD_LINE + 1}: "):
        import_records(database, path)
    assert Repository(database).stats() == before
    database.close()


@pytest.mark.parametrize(
    ("line", "change", "told"),
    [
        (RUN_LINE, {"seed": 8}, "run run-1: seed"),
        (FINISH_LINE, {"stop_reason": "somebody said so"}, "end of run run-1: stop_reason"),
        (TRIAL_LINE, {"latency_us": 11.5, "samples_us": [11.5]}, "0 0 of run run-1: latency_us, samples_us"),
    ],
)
def test_of_a_conflict_both_sides_are_kept_in_any_order(
    line: int, change: dict[str, object], told: str, honest: bytes, tmp_path: Path
) -> None:
    """The same records are there afterwards, whoever came first; and once more changes nothing."""
    altered = [json.loads(text) for text in honest.splitlines()]
    altered[line]["value"].update(change)
    paths = [tmp_path / "honest.jsonl", tmp_path / "altered.jsonl"]
    for path, content in zip(paths, (honest, sealed(altered)), strict=True):
        path.write_bytes(content)
    kept = []
    for order in (paths, paths[::-1]):
        database = open_database(tmp_path / f"{order[0].stem}.db")
        import_records(database, order[0])
        loaded = import_records(database, order[1])
        assert told in loaded.conflicts[0]
        assert loaded.conflicts[0].endswith("; kept as run run-1.conflict-2")
        assert import_records(database, order[1]) == LoadCounts(0, loaded.new + loaded.known)
        again = merge_into(database, tmp_path / f"copy of {order[0].stem}.db")
        assert again.conflicts == ()
        told_of = [to_object(entry) for entry in entries_of(database)]
        texts = [canonical_json(each["value"]).replace(".conflict-2", "") for each in told_of]
        kept.append(sorted(texts))
        database.close()
    assert kept[0] == kept[1]
    one, two = (open_database(tmp_path / f"{path.stem}.db") for path in paths)
    assert merge_database(one, two).conflicts == (), "each has both sides by now"
    one.close()
    two.close()


def merge_into(database: Database, path: Path) -> LoadCounts:
    copy = open_database(path)
    try:
        return merge_database(database, copy)
    finally:
        copy.close()


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be read"):
        list(read_lines(tmp_path / "nothing.jsonl"))
