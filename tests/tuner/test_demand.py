"""Demand: what lookups missed is ranked by what tuning would save, and tuned from the top."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.onnx_models import saved
from tests.tuner.test_cover import network
from tilewright.api.cli.main import main
from tilewright.compiler_core.onnx_import.sizes import import_bound
from tilewright.compiler_core.target_model.file import load_target, target_text
from tilewright.compiler_core.toolchain import TOOLCHAIN
from tilewright.db.answering.ask import ask, ask_many
from tilewright.db.answering.describe import Operand, contraction, row_of
from tilewright.db.answering.lookup import Hit, Miss
from tilewright.db.demand import recorder as recording
from tilewright.db.demand.entries import Asked, Demandable, Served
from tilewright.db.demand.file import DemandFile
from tilewright.db.storage.session import open_database
from tilewright.search_space.network import numbered
from tilewright.tuner.verbs.demand import demand
from tilewright.tuner.verbs.from_demand import DemandTuning, tune_demand
from tilewright.tuner.verbs.lookup import compile_known, lookup

TARGET = "ascend310"
SMALL = contraction("mk,kn->mn", Operand((16, 32)), Operand((32, 16)))
LARGE = contraction("mk,kn->mn", Operand((256, 512)), Operand((512, 256)))


@pytest.fixture
def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Lookups that missed: a kernel often, another once, a network thrice."""
    path = tmp_path / "asked.demand"
    monkeypatch.setenv("TILEWRIGHT_DEMAND", str(path))
    recording.recorder_of_process.cache_clear()
    database = open_database(tmp_path / "tuning.db")
    target = load_target(TARGET)
    for _ in range(5):
        assert isinstance(ask(database, LARGE, target), Miss)
    ask_many(database, [SMALL], target)
    database.close()
    model = saved(network(1, 48), tmp_path)
    for _ in range(2):
        lookup(model, TARGET, database=tmp_path / "tuning.db")
    compile_known(model, TARGET, database=tmp_path / "tuning.db").close()
    found = recording.recorder_of_process()
    assert found is not None
    found.flush()
    yield path
    recording.recorder_of_process.cache_clear()
    found.close()


def test_misses_are_ranked_by_the_time_that_tuning_would_save(logged: Path, tmp_path: Path) -> None:
    database = open_database(tmp_path / "tuning.db", read_only=True)
    found = demand(logged, database)
    assert found.totals == {"measured": 0, "guessed": 3, "default": 6, "uncounted": 0}
    kernels = {each.workload_digest: each for each in found.wanted if each.kind == "kernel"}
    assert (kernels[LARGE.digest].count, kernels[SMALL.digest].count) == (5, 1)
    (whole,) = [each for each in found.wanted if each.kind == "graph"]
    assert (whole.count, whole.target, Path(whole.model).name) == (3, TARGET, "model.onnx")
    for each in found.wanted:
        assert each.served_us is not None
        assert each.expected_us is not None
        assert each.saves_us == pytest.approx(each.count * (each.served_us - each.expected_us))
        assert not each.why_not
    saves = [each.saves_us for each in found.wanted]
    assert saves == sorted(saves, reverse=True)
    assert len(demand(logged, database, limit=1).wanted) == 1


def test_what_was_missed_is_tuned_and_answers(logged: Path, tmp_path: Path) -> None:
    asked = DemandTuning(logged, tmp_path / "tuning.db", trials=8, time_limit_s=60.0)
    done = list(tune_demand(asked))
    assert len(done) == 3
    assert not [each.reason for each in done if each.reason]
    database = open_database(tmp_path / "tuning.db", read_only=True)
    for workload in (SMALL, LARGE):
        answer = ask(database, workload, load_target(TARGET))
        assert isinstance(answer, Hit)
        assert answer.best.confirmations >= 3
    assert demand(logged, database).wanted == ()


def test_what_lies_under_the_path_by_now_is_not_tuned_for_what_was_asked(
    tmp_path: Path,
) -> None:
    asked = numbered(import_bound(saved(network(1, 48), tmp_path), {}).graph).task.digest
    model = saved(network(1, 64), tmp_path)
    chip = load_target(TARGET)
    file = DemandFile(tmp_path / "asked.demand")
    about = Demandable("network", TARGET, model=str(model), bound_us=1.0)
    today = Asked(asked, chip.digest, TOOLCHAIN, "latency", Served.GUESSED.value)
    old = today._replace(toolchain="0")
    file.add({today: (9, 90.0), old: (1, 90.0)}, {asked: about})
    file.close()
    tuning = DemandTuning(tmp_path / "asked.demand", tmp_path / "tuning.db", trials=4)
    done = {each.wanted.toolchain: each for each in tune_demand(tuning)}
    assert [each.trials for each in done.values()] == [0, 0]
    assert f"{model} is another network by now: " in done[TOOLCHAIN].reason
    assert f"asked {asked[:12]}" in done[TOOLCHAIN].reason
    assert done["0"].reason == f"it was asked for toolchain 0, that of {TARGET} is {TOOLCHAIN} by now"


def test_no_time_tunes_nothing(logged: Path, tmp_path: Path) -> None:
    ticks = iter([0.0, 3.0])
    asked = DemandTuning(logged, tmp_path / "tuning.db", trials=8, time_limit_s=2.0)
    assert list(tune_demand(asked, clock=lambda: next(ticks))) == []


def test_the_command_line(logged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--db", str(tmp_path / "tuning.db")]
    assert main(["demand", *where]) == 0
    out = capsys.readouterr().out
    assert out.startswith("lookups  0 measured, 3 guessed, 6 default, 0 uncounted\n")
    assert "on ascend310, default, " in out
    assert main(["run", "--from-demand", *where, "--trials", "4", "--ray", "none", "--time-limit", "1h"]) == 0
    assert "asked 5 times, 4 trials" in capsys.readouterr().out
    assert main(["demand", *where]) == 0
    assert "nothing that was missed is without an answer now" in capsys.readouterr().out
    assert main(["demand", *where, "--file", str(tmp_path / "none")]) == 2
    assert main(["run", "--from-demand", "--target", TARGET, *where]) == 2
    assert main(["run", *where]) == 2
    assert main(["run", "--from-demand", *where, "--time-limit", "soon"]) == 2


def test_a_chip_is_found_where_one_of_its_questions_says(tmp_path: Path) -> None:
    chip = tmp_path / "chip.toml"
    chip.write_text(target_text(TARGET).replace("cores = 2", "cores = 4", 1))
    target = load_target(chip)
    assert target.digest != load_target(TARGET).digest
    unknown, known = (
        Asked(each.digest, target.digest, "3", "latency", Served.DEFAULT.value) for each in (LARGE, SMALL)
    )
    file = DemandFile(tmp_path / "asked.demand")
    about = Demandable("small", str(chip), body=row_of(SMALL).body)
    file.add({unknown: (9, 0.0), known: (1, 0.0)}, {SMALL.digest: about})
    file.close()
    found = demand(tmp_path / "asked.demand", open_database(tmp_path / "tuning.db"))
    places = {each.workload_digest: (each.target, each.why_not) for each in found.wanted}
    assert places[SMALL.digest] == (str(chip), "")
    assert places[LARGE.digest] == ("", "only its digest is known")


def test_without_the_variable_nothing_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TILEWRIGHT_DEMAND", raising=False)
    recording.recorder_of_process.cache_clear()
    database = open_database(tmp_path / "tuning.db")
    ask(database, SMALL, load_target(TARGET))
    assert list(tmp_path.glob("*.demand")) == []


def test_a_file_of_something_else_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_database(tmp_path / "tuning.db").close()
    (tmp_path / "text").write_text("no database at all, but long enough to be looked at" * 40)
    for name in ("tuning.db", "text"):
        assert main(["demand", "--db", str(tmp_path / "tuning.db"), "--file", str(tmp_path / name)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
