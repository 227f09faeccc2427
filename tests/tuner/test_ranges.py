"""A range of sizes: a few are tuned, and every size inside is answered with its regret."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.onnx_models import model, node, reals, saved, value
from tilewright.api.cli.main import main
from tilewright.api.cli.options import read_ranges
from tilewright.api.pages.html_report import report
from tilewright.compiler_core.checking.verify import verify_program
from tilewright.compiler_core.errors import ModelError, UsageError
from tilewright.compiler_core.onnx_import.sizes import left_out, sizes_in_range
from tilewright.db.browse import Browse, Viewer
from tilewright.db.exchange.best_file import export_best
from tilewright.db.records import Best
from tilewright.db.repository import Repository
from tilewright.db.storage.session import open_database
from tilewright.tuner.explain.explain import explain
from tilewright.tuner.network.events import Counted, Event, Phase
from tilewright.tuner.network.records import Records
from tilewright.tuner.request import Hooks, PoolChoice, TuneRequest
from tilewright.tuner.run import run
from tilewright.tuner.sizes.intervals import Anchor
from tilewright.tuner.sizes.representatives import representatives
from tilewright.tuner.sizes.survey import RangeSurvey
from tilewright.tuner.verbs.lookup import compile_known, lookup
from tilewright.tuner.verbs.profile import profile
from tilewright.tuner.verbs.ranges import RangeReport, run_range
from tilewright.tuner.verbs.tune import tune_range
from tilewright.tuner.verbs.verify import verify


def two_products(folder: Path) -> Path:
    """relu(x @ a) @ b over rows that have no number yet."""
    made = model(
        [node("MatMul", "x a", "p"), node("Relu", "p", "q"), node("MatMul", "q b", "y")],
        [value("x", ["rows", 32])],
        ["y"],
        {"a": reals(1, 32, 48), "b": reals(2, 48, 16)},
    )
    return saved(made, folder)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, RangeReport]:
    folder = tmp_path_factory.mktemp("range")
    path, database = two_products(folder), folder / "range.db"
    heard: list[Event] = []
    asked = TuneRequest(
        path,
        "ascend310",
        ranges={"rows": (4, 100)},
        trials=100,
        database=database,
        pool=PoolChoice(ray="none"),
    )
    found = run_range(asked, Hooks(heard.append))
    said = [event.detail for event in heard if isinstance(event, Phase) and event.name == "range"]
    assert said[0] == f"rows = 4, size 1 of {len(found.sizes)}, {100 // len(found.sizes)} of the trials"
    assert any(isinstance(event, Counted) and "between the sizes" in event.what for event in heard)
    return path, database, found


@pytest.mark.parametrize(
    ("low", "high", "sizes"),
    [
        (0, 0, (0,)),
        (0, 64, (0, 1, 4, 16, 64)),
        (1, 1, (1,)),
        (1, 3, (1, 3)),
        (1, 2048, (1, 7, 45, 304, 2048)),
        (100, 130, (100, 130)),
    ],
)
def test_sizes_lie_at_equal_ratios(low: int, high: int, sizes: tuple[int, ...]) -> None:
    assert representatives(range(low, high + 1)) == sizes


def test_intervals_cover_the_range(tuned: tuple[Path, Path, RangeReport]) -> None:
    _, _, found = tuned
    assert (found.intervals[0].low, found.intervals[-1].high) == (4, 100)
    for interval, following in zip(found.intervals, found.intervals[1:], strict=False):
        assert interval.high + 1 == following.low
    for interval in found.intervals:
        assert interval.tuned_at in found.sizes
        assert interval.measured_regret is not None
        assert interval.predicted_regret is not None
        assert 0 <= interval.measured_regret <= interval.predicted_regret or interval.low == interval.high


@pytest.mark.parametrize("rows", [4, 5, 37, 99, 100])
def test_every_size_inside_is_answered(rows: int, tuned: tuple[Path, Path, RangeReport]) -> None:
    path, database, found = tuned
    answer = lookup(path, "ascend310", dims={"rows": rows}, database=database)
    assert answer.complete
    if rows in found.sizes:
        assert answer.network_latency_us is not None
        return
    assert answer.selected is not None
    assert answer.selected.interval in found.intervals
    assert answer.selected.interval.low <= rows <= answer.selected.interval.high
    compiled = compile_known(path, "ascend310", dims={"rows": rows}, database=database)
    assert set(compiled.sources.values()) == {"range"}
    assert verify_program(compiled.opened.graph, compiled.program, compiled.opened.target) == []
    assert verify(path, "ascend310", dims={"rows": rows}, database=database).ok


def test_a_report_of_any_size_tells_the_search_or_the_range(tuned: tuple[Path, Path, RangeReport]) -> None:
    path, database, found = tuned
    at = found.sizes[1]
    told = report(path, "ascend310", dims={"rows": at}, database=database)
    assert "convergence" in told.drawings
    told = report(path, "ascend310", dims={"rows": 37}, database=database)
    assert "as tuned at" in told.html
    assert "timeline" in told.drawings


def test_a_range_of_a_file_answers_as_a_layer(
    tuned: tuple[Path, Path, RangeReport],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, database, _ = tuned
    export_best(open_database(database, read_only=True), tmp_path / "best.db")
    monkeypatch.setenv("TILEWRIGHT_LAYERS", f"team={tmp_path / 'best.db'}")
    monkeypatch.chdir(tmp_path)
    answer = lookup(path, "ascend310", dims={"rows": 37})
    assert answer.complete
    assert answer.selected is not None
    assert (answer.selected.layer, answer.layer) == ("team", "team")
    asked = ["compile", str(path), "--target", "ascend310", "--dim", "rows=37", "-o", "program.json"]
    assert main(asked) == 0
    assert "layer: team answers\n" in capsys.readouterr().out


def test_sizes_outside_are_not(tuned: tuple[Path, Path, RangeReport]) -> None:
    path, database, _ = tuned
    for rows in (3, 101):
        answer = lookup(path, "ascend310", dims={"rows": rows}, database=database)
        assert answer.selected is None
        assert not answer.complete
        assert answer.reason == (
            f"rows = {rows} is outside the tuned range 4..100; tune it by itself or a wider range"
        )


def test_a_miss_says_where_the_range_ends(
    tuned: tuple[Path, Path, RangeReport], capsys: pytest.CaptureFixture[str]
) -> None:
    path, database, _ = tuned
    given = [str(path), "--target", "ascend310", "--db", str(database), "--dim", "rows=101"]
    assert main(["lookup", *given]) == 3
    said = capsys.readouterr().out
    assert "outside the tuned range 4..100" in said
    assert "nearest has" not in said
    out = database.parent / "beyond.json"
    assert main(["compile", *given, "-o", str(out), "--require", "answered"]) == 3
    assert "outside the tuned range 4..100" in capsys.readouterr().err


@pytest.mark.parametrize("rows", [37, 101])
def test_a_size_that_was_not_tuned_has_one_latency(
    rows: int, tuned: tuple[Path, Path, RangeReport], capsys: pytest.CaptureFixture[str]
) -> None:
    """lookup, profile, -O1 and explain say the same, of the network and of each kernel."""
    path, database, _ = tuned
    asked: dict[str, Any] = {"dims": {"rows": rows}, "database": database}
    answer = lookup(path, "ascend310", **asked)
    assert answer.simulated_us is not None
    assert answer.simulated_us == profile(path, "ascend310", **asked).timing.latency_us
    guess = run(TuneRequest(path, "ascend310", level=1, **asked))
    assert guess.stop_reason == ("of_range" if rows == 37 else "unmeasured")
    assert guess.tuned.latency_us == answer.simulated_us
    told = explain(path, "ascend310", **asked)
    assert sorted(each.latency_us for each in told.kernels) == sorted(
        each.latency_us for each in answer.kernels
    )
    assert sorted(each.latency_us for each in guess.kernels) == sorted(
        each.latency_us for each in answer.kernels
    )
    assert main(
        ["lookup", str(path), "--target", "ascend310", "--db", str(database), "--dim", f"rows={rows}"]
    ) in (0, 3)
    assert f"{answer.simulated_us:.2f} us, simulated" in capsys.readouterr().out


def test_the_command_line_says_the_regret(
    tuned: tuple[Path, Path, RangeReport], capsys: pytest.CaptureFixture[str]
) -> None:
    path, database, _ = tuned
    given = [str(path), "--target", "ascend310", "--db", str(database), "--dim", "rows=37"]
    assert main(["lookup", *given]) == 0
    said = capsys.readouterr().out
    assert "answered by a range" in said
    assert "slower than a search of its own would find" in said
    assert "miss" not in said
    out = str(database.parent / "program.json")
    for require, code in (("answered", 0), ("measured", 3), ("verified", 3)):
        assert main(["compile", *given, "-o", out, "--require", require]) == code
        told = capsys.readouterr()
        assert "guess" not in told.out
        assert ("was not measured itself" in told.err) == (code == 3)
    assert main(["verify", *given, "--dtype", "target"]) == 0
    assert "floats stored as f16" in capsys.readouterr().out


def test_what_the_range_measured_between_is_recorded_in_one_run(
    tuned: tuple[Path, Path, RangeReport], capsys: pytest.CaptureFixture[str]
) -> None:
    _, database, found = tuned
    opened = open_database(database)
    runs, _ = Browse(opened).runs(Viewer(None, operator=True), limit=500)
    (survey,) = (run for run in runs if run.asked.trials_budget == 0)
    assert json.loads(survey.asked.settings)["range"] == "rows"
    assert survey.stop_reason == "range"
    assert survey.asked.model_digest == found.graph_digest
    assert len(Repository(opened).trials_of_run(survey.uid)) > len(found.sizes)
    opened.close()
    assert main(["report", survey.uid, "--db", str(database), "-o", str(database.parent / "r.html")]) == 2
    assert "measured sizes of rows" in capsys.readouterr().err


def test_a_narrower_range_leaves_the_other_sizes_answered(
    tuned: tuple[Path, Path, RangeReport], tmp_path: Path
) -> None:
    """Tuned again, narrower and beyond its end: no size is lost, and none says less than before."""
    path, before, _ = tuned
    database = tmp_path / "again.db"
    shutil.copyfile(before, database)
    tune_range(path, "ascend310", "rows", 20, 30, trials=8, database=database, ray="none")
    tune_range(path, "ascend310", "rows", 90, 130, trials=8, database=database, ray="none")
    for rows in (5, 19, 25, 31, 89, 110):
        answer = lookup(path, "ascend310", dims={"rows": rows}, database=database)
        assert answer.complete, rows
    assert answer.selected is not None
    assert lookup(path, "ascend310", dims={"rows": 131}, database=database).reason.startswith(
        "rows = 131 is outside the tuned range 4..130"
    )


def test_what_is_better_from_another_size_is_published_at_a_tuned_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a small size got the worst of its plans, that of the large size is its answer in the end."""
    path, database = two_products(tmp_path), tmp_path / "range.db"
    honest = Records.known_network

    def slow(self: Records) -> Best | None:
        """The default of the smallest size stands for what a short search may end with."""
        best = honest(self)
        rows = self.network.graph.shape(self.network.graph.outputs[0])[0]
        default = self.default_network()
        return default if rows == 4 and best is not None and default is not None and not offered else best

    offered: list[int] = []
    wrapped = RangeSurvey.publish

    def publish(self: RangeSurvey, anchor: Anchor) -> bool:
        offered.append(anchor.size)
        return wrapped(self, anchor)

    monkeypatch.setattr(Records, "known_network", slow)
    monkeypatch.setattr(RangeSurvey, "publish", publish)
    found = tune_range(path, "ascend310", "rows", 4, 9, trials=12, database=database, ray="none")
    assert offered == [4]
    first = found.intervals[0]
    assert first.low == 4
    assert found.reports[0].tuned.latency_us < found.reports[0].default.latency_us
    answer = lookup(path, "ascend310", dims={"rows": 4}, database=database)
    assert answer.network_latency_us == found.reports[0].tuned.latency_us


def appended(folder: Path) -> Path:
    """A product over a cache with one row more: with an empty cache it is the prefill."""
    nodes = [
        node("MatMul", "x a", "new"),
        node("Concat", "past new", "cache", axis=0),
        node("Transpose", "cache", "t", perm=[1, 0]),
        node("MatMul", "x t", "scores"),
        node("Softmax", "scores", "shares"),
        node("MatMul", "shares cache", "y"),
    ]
    inputs = [value("x", [1, 24]), value("past", ["past", 24])]
    return saved(model(nodes, inputs, ["y", "cache"], {"a": reals(1, 24, 24)}), folder)


def first_rows(folder: Path) -> Path:
    """At most 5 of the largest elements of each column: imported only with the rows bound."""
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape at", "rows"),
        node("Concat", "rows most", "both", axis=0),
        node("ReduceMin", "both", "k", keepdims=1),
        node("TopK", "x k", "values places", axis=0),
        node("MatMul", "values w", "y"),
    ]
    constants = {"at": np.array([0]), "most": np.array([5]), "w": reals(2, 8, 8)}
    return saved(model(nodes, [value("x", ["rows", 8])], ["y"], constants), folder)


@pytest.mark.parametrize(("network", "symbol"), [(appended, "past"), (first_rows, "rows")])
def test_a_range_begins_at_zero_and_needs_no_open_dim(
    network: Callable[[Path], Path], symbol: str, tmp_path: Path
) -> None:
    path, database = network(tmp_path), tmp_path / "range.db"
    found = tune_range(path, "ascend310", symbol, 0, 40, trials=20, database=database, ray="none")
    assert found.sizes[:2] == (0, 1)
    assert (found.intervals[0].low, found.intervals[-1].high) == (0, 40)
    for size in (0, 1, 3, 40):
        asked = {symbol: size}
        assert lookup(path, "ascend310", dims=asked, database=database).complete
        assert verify(path, "ascend310", dims=asked, database=database).ok


def test_sizes_that_the_model_cannot_have_are_left_out(tmp_path: Path) -> None:
    """Halved and doubled again beside itself: even sizes only."""
    nodes = [
        node("MaxPool", "x", "half", kernel_shape=[2], strides=[2]),
        node("Resize", "half _ scales", "back", mode="nearest"),
        node("Add", "x back", "y"),
    ]
    constants = {"scales": np.array([1, 1, 2], np.float32)}
    path = saved(model(nodes, [value("x", [1, 4, "width"])], ["y"], constants), tmp_path)
    assert list(sizes_in_range(path, {}, "width", 3, 9)) == [4, 6, 8]
    found = tune_range(path, "ascend310", "width", 3, 9, trials=12, database=tmp_path / "r.db", ray="none")
    assert set(found.sizes) <= {4, 6, 8}
    for width in (4, 6, 8):
        assert lookup(path, "ascend310", dims={"width": width}, database=tmp_path / "r.db").complete


def windows(folder: Path) -> Path:
    """A convolution of 5 x 5 and a pooling of 3 x 3: 7 rows and columns, or more."""
    nodes = [
        node("Conv", "x w", "wide"),
        node("MaxPool", "wide", "few", kernel_shape=[3, 3], strides=[2, 2]),
        node("Relu", "few", "y"),
    ]
    inputs = [value("x", [1, 2, "height", "width"])]
    return saved(model(nodes, inputs, ["y"], {"w": reals(1, 4, 2, 5, 5)}), folder)


def test_sizes_that_no_window_fits_are_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, database = windows(tmp_path), tmp_path / "r.db"
    assert sizes_in_range(path, {"width": 8}, "height", 0, 20) == range(7, 21)
    with pytest.raises(
        UsageError, match=r"holds no size that the model can have; at 6: node 'few' \(MaxPool\)"
    ):
        sizes_in_range(path, {"width": 8}, "height", 1, 6)
    given = [str(path), "--target", "ascend310", "--db", str(database), "--dim", "width=8"]
    assert main(["run", *given, "--dim", "height=1..12", "--trials", "8", "--ray", "none"]) == 0
    said = capsys.readouterr().out
    assert "height 1..6 left out: node 'few' (MaxPool)" in said
    assert main(["lookup", *given, "--dim", "height=7"]) == 0
    assert main(["lookup", *given, "--dim", "height=6"]) == 2
    assert "a window of 3 does not fit an input of 2" in capsys.readouterr().err


def test_sizes_that_are_refused_when_they_are_bound_are_left_out(tmp_path: Path) -> None:
    """The 5 largest of each column; fewer rows hold no 5."""
    nodes = [node("TopK", "x k", "values places", axis=0), node("Relu", "values", "y")]
    path = saved(model(nodes, [value("x", ["rows", 4])], ["y"], {"k": np.array([5])}), tmp_path)
    legal = sizes_in_range(path, {}, "rows", 1, 40)
    assert legal == range(5, 41)
    assert left_out(path, {}, "rows", (1, 40), legal).startswith("rows 1..4 left out: node 'values' (TopK)")
    with pytest.raises(ModelError, match="k = 5 lies outside an extent of 1"):
        sizes_in_range(path, {}, "rows", 1, 4)


def test_a_range_is_tuned_on_a_device_of_the_users_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, database = two_products(tmp_path), tmp_path / "own.db"
    given = [str(path), "--target", "ascend310", "--db", str(database)]
    board = ["--device", "examples.own_device:open_board"]
    assert main(["run", *given, *board, "--trials", "6", "--dim", "rows=4..9", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["intervals"]
    sized = ["-o", str(tmp_path / "program.json"), "--dim", "rows=6"]
    assert main(["compile", *given, *sized, "--toolchain", "board-sdk-1.0"]) == 0
    assert "range: rows " in capsys.readouterr().out
    assert main(["compile", *given, *sized]) == 0
    assert "range: " not in capsys.readouterr().out


def test_dims_are_read() -> None:
    assert read_ranges(["batch=2", "seq=1..64"]) == ({"batch": 2}, {"seq": (1, 64)})
    assert read_ranges(["past=0", "seq=0..4"]) == ({"past": 0}, {"seq": (0, 4)})
    for wrong in (
        "seq=64..1",
        "seq=1..2 batch=1..2",
        "seq=-1",
        "seq=²",
        "=1..4",
        "seq=1..x",
        "seq=1..4 seq=2",
    ):
        with pytest.raises(UsageError):
            read_ranges(wrong.split())


@pytest.mark.parametrize("dim", ["columns=1..4", "rows=1..4"])
def test_what_cannot_be_ranged_is_said_in_one_line(
    dim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = two_products(tmp_path)
    given = [str(path), "--target", "ascend310", "--db", str(tmp_path / "x.db"), "--ray", "none"]
    more = ["-O", "0"] if dim == "rows=1..4" else []
    assert main(["run", *given, "--dim", dim, *more]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize("dim", ["batch=2", "batch=1..8"])
def test_a_model_without_open_dims_says_what_fixes_them(
    dim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(model([node("Relu", "image", "y")], [value("image", [1, 3, 8, 8])], ["y"]), tmp_path)
    given = [str(path), "--target", "ascend310", "--db", str(tmp_path / "x.db"), "--ray", "none"]
    assert main(["run", *given, "--dim", dim]) == 2
    said = capsys.readouterr().err
    assert "none: the file fixes every extent of 'image' 1 x 3 x 8 x 8; export it with that dim open" in said
    assert len(said.strip().splitlines()) == 1


def test_the_same_range_twice_is_measured_once(tuned: tuple[Path, Path, RangeReport], tmp_path: Path) -> None:
    path, before, found = tuned
    database = tmp_path / "twice.db"
    shutil.copyfile(before, database)
    again = tune_range(path, "ascend310", "rows", 4, 100, trials=100, database=database, ray="none")
    assert again.intervals == found.intervals
    surveys = [run for run in Repository(open_database(database)).runs() if run.stop_reason == "range"]
    assert len(surveys) == 1
    here: dict[str, Any] = {"dims": {"rows": found.sizes[1]}, "pool": PoolChoice(ray="none")}
    run(TuneRequest(path, "ascend310", trials=30, database=database, **here))
    tune_range(path, "ascend310", "rows", 4, 100, trials=100, database=database, ray="none")
    surveys = [run for run in Repository(open_database(database)).runs() if run.stop_reason == "range"]
    assert len(surveys) == 2, "one of its sizes was tuned since"


def test_a_verb_without_ranges_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = two_products(tmp_path)
    assert main(["compile", str(path), "--target", "ascend310", "-o", "x.json", "--dim", "rows=1..4"]) == 2
    assert "takes one size" in capsys.readouterr().err


def test_a_range_from_python_takes_a_regret(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[TuneRequest] = []
    monkeypatch.setattr("tilewright.tuner.verbs.tune.run_range", lambda request, hooks: asked.append(request))
    tune_range("model.onnx", "ascend310", "rows", 1, 9, regret=0.05)
    tune_range("model.onnx", "ascend310", "rows", 1, 9, level=3)
    assert [request.enough for request in asked] == [0.05, 0.02]
