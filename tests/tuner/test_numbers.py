"""One name, one number: default, answer, bound and gap are the same wherever they are told."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.onnx_models import model as onnx_model
from tests.onnx_models import node, saved, small_cnn, value
from tilewright.api.cli.main import main
from tilewright.db.repository import Repository
from tilewright.db.storage.session import open_database
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Measurement, Status
from tilewright.tuner.explain.explain import explain
from tilewright.tuner.verbs.lookup import lookup
from tilewright.tuner.verbs.profile import profile
from tilewright.tuner.verbs.report import report_on

TARGET, TRIALS = "ascend310", 32
TARGETS = ("ascend910", "ascend310", "ethos_u55_256", "eyeriss")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(small_cnn(), tmp_path_factory.mktemp("numbers"))


def asked(model: Path, database: Path, *options: str, target: str = TARGET) -> dict[str, Any]:
    answer = database.parent / "answer.json"
    files = ["--db", str(database), "--json", str(answer)]
    assert main(["run", str(model), "--target", target, "--ray", "none", *options, *files]) == 0
    found: dict[str, Any] = json.loads(answer.read_text())
    return found


@pytest.fixture(scope="module")
def database(model: Path) -> Path:
    return model.parent / "tuning.db"


@pytest.fixture(scope="module")
def before(model: Path, database: Path) -> list[dict[str, Any]]:
    """-O0 and -O1 of a network that nothing is known of."""
    return [asked(model, model.parent / f"{level}.db", "-O", str(level)) for level in (0, 1)]


@pytest.fixture(scope="module")
def tuned(model: Path, database: Path) -> dict[str, Any]:
    return asked(model, database, "--trials", str(TRIALS))


def test_a_guess_is_called_one_and_is_timed_as_profile_times_it(
    model: Path, before: list[dict[str, Any]], tuned: dict[str, Any]
) -> None:
    for level, answer in enumerate(before):
        assert answer["tuned"] is None
        assert answer["verification"] == "none"
        assert answer["expected_error"] == 0.0, "the simulator is the device here"
        assert answer["default"] == tuned["default"]
        timed = profile(model, TARGET, database=model.parent / f"{'none' if level == 0 else level}.db")
        assert answer["guess"]["latency_us"] == timed.timing.latency_us
    assert before[0]["guess"] == before[0]["default"]
    assert tuned["guess"] is None


def test_text_names_a_guess_and_its_error(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(model), "--target", TARGET, "-O", "1", "--db", str(tmp_path / "any.db")]) == 0
    text = capsys.readouterr().out
    assert "tuned " not in text
    assert "neither measured nor verified; expected error 0%" in text


def test_trials_are_counted_alike(
    database: Path, tuned: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    opened = open_database(database, read_only=True)
    (context,) = Repository(opened).stats().contexts
    rows = dict(Repository(opened).stats().rows)
    opened.close()
    assert (context.runs, context.trials) == (1, tuned["trials"])
    assert context.trials + context.others == rows["trial"]
    assert main(["db", "stats", "--db", str(database)]) == 0
    assert f"trial            {rows['trial']:>10} rows" in capsys.readouterr().out


def test_the_answer_is_one_number_everywhere(model: Path, database: Path, tuned: dict[str, Any]) -> None:
    answer_us, default_us = tuned["tuned"]["latency_us"], tuned["default"]["latency_us"]
    assert answer_us <= default_us
    assert lookup(model, TARGET, database=database).network_latency_us == answer_us
    assert profile(model, TARGET, database=database).timing.latency_us == answer_us
    told = report_on(model, TARGET, database=database).result
    assert told["tuned"]["latency_us"] == answer_us
    assert told["default"]["latency_us"] == default_us
    assert told["bound"]["latency_us"] == tuned["bound"]["latency_us"]
    assert told["gap"]["ratio"] == tuned["gap"]["ratio"]
    recalled = asked(model, database, "-O", "1")
    assert recalled["tuned"] == tuned["tuned"]
    assert recalled["default"] == tuned["default"]
    assert recalled["stop_reason"] == "database"


@pytest.mark.parametrize("target", TARGETS)
def test_the_parts_of_a_gap_are_not_negative_and_add_up(model: Path, tmp_path: Path, target: str) -> None:
    for level in ("0", "1"):
        answer = asked(model, tmp_path / "any.db", "-O", level, target=target)
        parts = [value for name, value in answer["gap"].items() if name.endswith("_us")]
        assert min(parts) >= 0.0
        apart = answer["guess"]["latency_us"] - answer["bound"]["latency_us"]
        assert sum(parts) == pytest.approx(apart)


@pytest.mark.parametrize("objective", sorted(set(Objective) - {Objective.LATENCY}))
def test_every_objective_ends_verified_between_its_bound_and_its_default(
    model: Path, tmp_path: Path, objective: Objective
) -> None:
    answer = asked(model, tmp_path / "any.db", "--trials", "16", "--objective", objective)
    assert answer["verification"] == "value-exact"
    bound, tuned, default = (
        objective.of(
            Measurement(
                Status.OK,
                answer[name]["latency_us"],
                energy_uj=answer[name]["energy_uj"],
                peak_bytes=answer[name]["peak_bytes"],
            )
        )
        for name in ("bound", "tuned", "default")
    )
    assert bound is not None
    assert tuned is not None
    assert default is not None
    assert bound <= tuned <= default
    assert answer["gap"]["ratio"] == pytest.approx(tuned / bound)
    if objective is not Objective.MEMORY:
        told = report_on(model, TARGET, objective=objective, database=tmp_path / "any.db").result
        assert told["gap"]["ratio"] == pytest.approx(answer["gap"]["ratio"])


def test_compile_says_what_is_guessed_and_refuses_what_is_required(
    model: Path, database: Path, tuned: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def compiled(known: Path, *options: str) -> int:
        output = ["-o", str(tmp_path / "program.json"), "--db", str(known)]
        return main(["compile", str(model), "--target", TARGET, *output, *options])

    empty = tmp_path / "empty.db"
    open_database(empty).close()
    for require in ("measured", "verified"):
        assert compiled(empty, "--require", require) == 3
        assert "are guesses" in capsys.readouterr().err
        assert not (tmp_path / "program.json").exists()
        assert compiled(database, "--require", require) == 0
        assert "guesses" not in capsys.readouterr().out
        (tmp_path / "program.json").unlink()
    assert compiled(empty) == 0
    assert capsys.readouterr().out.startswith("guesses: ")
    assert compiled(empty, "--require", "luck") == 2


def test_a_larger_budget_measures_what_no_earlier_run_has(model: Path, tmp_path: Path) -> None:
    """The rest of the budget is spent, and on other Configs; the best known alone is measured again."""
    database = tmp_path / "grown.db"
    answers = [asked(model, database, "--trials", str(trials)) for trials in (16, 32, 48)]
    assert [answer["trials"] for answer in answers] == [16, 16, 16]
    best = [answer["tuned"]["latency_us"] for answer in answers]
    assert best == sorted(best, reverse=True)
    opened = open_database(database, read_only=True)
    repository = Repository(opened)
    kernels = {kernel["workload_digest"] for answer in answers for kernel in answer["kernels"]}
    for digest in kernels:
        configs = [row.trial.config for row in repository.trials_for([digest])]
        runs = len({row.trial.run for row in repository.trials_for([digest])})
        assert len(configs) - len(set(configs)) <= runs - 1
    opened.close()
    assert asked(model, database, "--trials", "48")["stop_reason"] == "database"


def test_a_kernel_that_runs_another_config_than_its_best_keeps_its_measured_time(tmp_path: Path) -> None:
    """Many Configs of a small move take the same time: the network may run another than the kernel's best."""
    nodes = [node("Transpose", "x", "t", perm=[0, 2, 1]), node("Flatten", "t", "y")]
    moved = saved(onnx_model(nodes, [value("x", [2, 6, 8])], ["y"]), tmp_path)
    database = tmp_path / "tuning.db"
    first = asked(moved, database, "--trials", "24", target="ascend910")
    again = asked(moved, database, "--trials", "24", target="ascend910")
    assert again["trials"] == 0
    assert again["sum_of_kernels_us"] == first["sum_of_kernels_us"]
    shown = explain(moved, "ascend910", database=database)
    assert [each.latency_us for each in shown.kernels] == [first["sum_of_kernels_us"]]


@pytest.mark.parametrize("option", ["--trials", "--seed"])
def test_numbers_beyond_64_bits_are_one_line(
    option: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number = str(10**20)
    files = ["--db", str(tmp_path / "t.db")]
    assert main(["run", str(model), "--target", TARGET, option, number, *files]) == 2
    assert f"{option} {number}" in capsys.readouterr().err
