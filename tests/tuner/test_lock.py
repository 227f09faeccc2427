"""A lock answers alike everywhere, whatever becomes of the database, or says that it does not."""

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.onnx_models import saved
from tests.tuner.test_cover import network
from tilewright.api.cli.main import main
from tilewright.compiler_core.errors import NotLockedError, RecordError, UsageError
from tilewright.compiler_core.lowering.formats.program_json import program_to_json
from tilewright.db.exchange.export import export_records
from tilewright.db.exchange.load import import_records, merge_database
from tilewright.db.exchange.lock_diff import diff_locks
from tilewright.db.exchange.lock_file import Lock, parse_lock, read_lock
from tilewright.db.storage.session import open_database
from tilewright.tuner.verbs.answers import Require
from tilewright.tuner.verbs.lock import lock
from tilewright.tuner.verbs.lookup import compile_known, lookup
from tilewright.tuner.verbs.provenance import provenance_of
from tilewright.tuner.verbs.reverify import verify_claims
from tilewright.tuner.verbs.tune import tune

TARGET, OTHER = "ascend310", "ascend910"


def imported(folder: Path, path: Path, order: tuple[str, ...]) -> None:
    """A database of records that others measured, measured again here."""
    database = open_database(path)
    for name in order:
        import_records(database, folder / f"{name}.jsonl")
    database.close()
    assert all(each.promoted for each in verify_claims(TARGET, database=path, workers=1, ray="none"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks, each tuned in a database of its own, both imported into another; the lock of both."""
    made = tmp_path_factory.mktemp("locked")
    paths = [
        saved(network(layers, width), made).rename(made / f"{name}.onnx")
        for name, layers, width in (("one", 2, 16), ("two", 1, 32))
    ]
    for path in paths:
        tune(path, TARGET, trials=8, database=path.with_suffix(".db"), ray="none")
        source = open_database(path.with_suffix(".db"), read_only=True)
        export_records(source, path.with_suffix(".jsonl"))
    imported(made, made / "both.db", ("one", "two"))
    found = lock([made / "one.onnx", made / "two.onnx"], [TARGET], database=made / "both.db")
    (made / "tilewright.lock").write_text(found.text())
    return made


def program(folder: Path, **options: object) -> str:
    compiled = compile_known(folder / "one.onnx", TARGET, **options)  # type: ignore[arg-type]
    compiled.close()
    form = program_to_json(compiled.program, compiled.graph.names, provenance_of(compiled))
    return json.dumps(form)


def test_a_lock_serves_what_the_database_served_without_it(folder: Path) -> None:
    frozen = folder / "tilewright.lock"
    served = program(folder, database=folder / "nowhere.db", frozen=frozen)
    assert served == program(folder, database=folder / "both.db")
    asked = lookup(folder / "one.onnx", TARGET, database=folder / "nowhere.db", frozen=frozen)
    known = lookup(folder / "one.onnx", TARGET, database=folder / "both.db")
    assert (asked.network_latency_us, asked.graph_digest) == (known.network_latency_us, known.graph_digest)
    assert {each.workload_digest for each in asked.kernels} == {k.workload_digest for k in known.kernels}
    assert asked.complete


def test_two_databases_and_two_orders_of_import_make_the_same_lock(folder: Path, tmp_path: Path) -> None:
    imported(folder, tmp_path / "again.db", ("two", "one"))
    found = lock([folder / "two.onnx", folder / "one.onnx"], [TARGET], database=tmp_path / "again.db")
    assert found.text() == (folder / "tilewright.lock").read_text()
    own = [
        lock([folder / f"{name}.onnx"], [TARGET], database=folder / f"{name}.db") for name in ("one", "two")
    ]
    assert Lock({**own[0].networks, **own[1].networks}).text() == found.text()


def test_a_lock_answers_the_same_after_a_merge(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "two.db", tmp_path / "mine.db")
    frozen = tmp_path / "tilewright.lock"
    frozen.write_text(lock([folder / "two.onnx"], [TARGET], database=tmp_path / "mine.db").text())
    before = lookup(folder / "two.onnx", TARGET, database=tmp_path / "mine.db", frozen=frozen)
    mine = open_database(tmp_path / "mine.db")
    merge_database(open_database(folder / "one.db", read_only=True), mine)
    mine.close()
    tune(folder / "two.onnx", TARGET, trials=12, seed=1, database=tmp_path / "mine.db", ray="none")
    assert lookup(folder / "two.onnx", TARGET, database=tmp_path / "mine.db", frozen=frozen) == before


def test_a_network_that_was_imported_says_to_verify(folder: Path, tmp_path: Path) -> None:
    database = open_database(tmp_path / "imported.db")
    import_records(database, folder / "one.jsonl")
    database.close()
    advice = f"imported, not verified: tune db verify --target {TARGET}"
    answer = lookup(folder / "one.onnx", TARGET, database=tmp_path / "imported.db")
    assert answer.imported == advice
    assert not answer.complete
    compiled = compile_known(folder / "one.onnx", TARGET, database=tmp_path / "imported.db")
    compiled.close()
    assert advice in compiled.lacks(Require.ANSWERED)
    assert lookup(folder / "one.onnx", TARGET, database=folder / "both.db").imported == ""


def test_what_is_not_locked_says_why(folder: Path, tmp_path: Path) -> None:
    frozen = read_lock(folder / "tilewright.lock")
    with pytest.raises(NotLockedError, match=r"one\.onnx is not locked for this: target \w+ \w+ is asked"):
        lookup(folder / "one.onnx", OTHER, frozen=frozen)
    with pytest.raises(NotLockedError, match="toolchain mine is asked, 3 is locked"):
        compile_known(folder / "one.onnx", TARGET, toolchain="mine", frozen=frozen)
    with pytest.raises(NotLockedError, match="is not in the lock, or was another network"):
        lookup(saved(network(3), tmp_path), TARGET, frozen=frozen)
    with pytest.raises(NotLockedError, match="are guesses; tune it first"):
        lock([saved(network(3), tmp_path)], [TARGET], database=folder / "two.db")
    with pytest.raises(UsageError, match="is the same network as one"):
        lock([folder / "one.onnx"] * 2, [TARGET], database=folder / "one.db")


def test_another_program_than_the_locked_one_is_not_served(folder: Path) -> None:
    found = read_lock(folder / "tilewright.lock")
    elsewhere = Lock({key: replace(each, program_digest="0" * 64) for key, each in found.networks.items()})
    with pytest.raises(NotLockedError, match="makes another Program here"):
        compile_known(folder / "one.onnx", TARGET, frozen=elsewhere)


def test_guesses_are_locked_on_demand_and_stay_guesses(folder: Path, tmp_path: Path) -> None:
    path = saved(network(3, 48), tmp_path)
    found = lock([path], [TARGET], database=folder / "two.db", guesses=True)
    answer = lookup(path, TARGET, frozen=parse_lock(found.text()))
    assert {kernel.match for kernel in answer.kernels} == {"guessed"}
    assert not answer.complete
    assert answer.simulated_us is not None


def test_a_lock_that_was_changed_is_refused_or_the_same(folder: Path) -> None:
    text, draw = (folder / "tilewright.lock").read_text(), random.Random(0)
    whole, refused = parse_lock(text), 0
    for _ in range(400):
        at = draw.randrange(len(text))
        changed = text[:at] + draw.choice('0a"{}[],: \\-.e') + text[at + draw.randrange(2) :]
        try:
            assert parse_lock(changed) == whole
        except RecordError:
            refused += 1
    assert refused > 200
    for hostile in ("", "[]", "{}", "[" * 100_000, '{"format":"tilewright-lock","version":9}', "null", "NaN"):
        with pytest.raises(RecordError):
            parse_lock(hostile)


def test_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two, frozen = str(folder / "one.onnx"), str(folder / "two.onnx"), str(tmp_path / "a.lock")
    where = ["--target", TARGET, "--db", str(folder / "both.db")]
    assert main(["lock", one, two, *where, "-o", frozen]) == 0
    assert Path(frozen).read_text() == (folder / "tilewright.lock").read_text()
    assert main(["lock", one, two, *where, "--diff", frozen]) == 0
    assert main(["lock", one, *where, "--diff", frozen]) == 1
    assert "removed  two, ascend310, latency" in capsys.readouterr().out
    assert main(["lock", frozen, "--diff", frozen]) == 0
    nowhere = ["--db", str(tmp_path / "nowhere.db")]
    assert main(["lookup", one, "--target", TARGET, *nowhere, "--frozen", frozen]) == 0
    program = ["compile", one, *nowhere, "-o", str(tmp_path / "p.json"), "--frozen", frozen]
    assert main([*program, "--target", TARGET]) == 0
    capsys.readouterr()
    assert main([*program, "--target", OTHER]) == 3
    assert capsys.readouterr().err.startswith("tune: one.onnx is not locked for this: target ")
    Path(frozen).write_text(Path(frozen).read_text().replace('"toolchain": "3"', '"toolchain": "4"', 1))
    assert main([*program, "--target", TARGET]) == 2
    assert "was changed since it was locked" in capsys.readouterr().err


def test_a_difference_names_what_changed(folder: Path) -> None:
    (key, one), *_ = read_lock(folder / "tilewright.lock").networks.items()
    (first, *others) = one.kernels
    slower = replace(first, latency_us=2 * first.latency_us, source="database")
    other = replace(one, latency_us=1e3, kernels=(slower, *others))
    (change,) = diff_locks(Lock({key: one}), Lock({key: other}))
    assert change.kind == "changed"
    assert f"latency: {one.latency_us:.2f} us -> 1000.00 us" in change.lines
    assert any(line.startswith(f"kernel {first.workload_digest[:16]}: ") for line in change.lines)
