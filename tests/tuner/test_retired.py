"""After a toolchain retires, a network is served as it was under it: marked, with its error, no answer."""

from pathlib import Path

import pytest

from benchmarks.service.retired import TARGET as BENCHED
from benchmarks.service.retired import bumps, covered, drawn, timed_under
from tests.onnx_models import saved
from tests.tuner.test_cover import network
from tilewright.api.cli.main import main
from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.target_model.file import load_target
from tilewright.tuner.verbs.answers import Require, read_fallback
from tilewright.tuner.verbs.lookup import compile_known, lookup
from tilewright.tuner.verbs.tune import tune

TARGET = "ascend310"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that was tuned under the toolchain before today's."""
    made = tmp_path_factory.mktemp("retired")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tilewright.measure.device.TOOLCHAIN", "2")
        tune(saved(network(2), made), TARGET, trials=8, database=made / "tuning.db", ray="none")
    return made


def test_the_whole_network_stands_in_and_says_so(folder: Path) -> None:
    model, database = folder / "model.onnx", folder / "tuning.db"
    answer = lookup(model, TARGET, database=database)
    assert not answer.complete
    assert answer.network_latency_us is None
    assert "us expected of the whole, measured under toolchain 2, a guess under today's" in answer.retired
    assert {(kernel.match, kernel.hit) for kernel in answer.kernels} == {("retired", False)}
    assert all("toolchain 2" in kernel.reason for kernel in answer.kernels)
    compiled = compile_known(model, TARGET, database=database)
    compiled.close()
    assert set(compiled.sources.values()) == {"retired"}
    assert sum(compiled.guesses.values()) == compiled.calls
    assert "are guesses" in compiled.lacks(Require.ANSWERED)
    before = compile_known(model, TARGET, database=database, toolchain="2")
    before.close()
    assert before.assignment.config == compiled.assignment.config


@pytest.mark.parametrize(
    ("fallback", "source"), [("guess", "guessed"), ("default", "default"), ("family,default", "default")]
)
def test_what_stands_in_is_the_users_to_say(folder: Path, fallback: str, source: str) -> None:
    options = {"database": folder / "tuning.db", "fallback": fallback}
    compiled = compile_known(folder / "model.onnx", TARGET, **options)  # type: ignore[arg-type]
    compiled.close()
    assert set(compiled.sources.values()) == {source}
    assert compiled.retired == ""


def test_a_fallback_without_guess_or_default_ends_in_no_answer(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(saved(network(3), tmp_path))
    where = ["--target", TARGET, "--db", str(folder / "tuning.db"), "--fallback", "toolchain,family"]
    output = tmp_path / "program.json"
    assert main(["compile", model, *where, "-o", str(output)]) == 3
    said = capsys.readouterr().err
    assert "kernels have no record, and --fallback ends without guess or default" in said
    assert not output.exists()
    assert main(["lookup", model, *where]) == 3
    assert " missing " in capsys.readouterr().out


def test_the_command_line_and_the_variable(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["lookup", str(folder / "model.onnx"), "--target", TARGET, "--db", str(folder / "tuning.db")]
    assert main(words) == 3
    assert "\nretired  " in capsys.readouterr().out
    monkeypatch.setenv("TILEWRIGHT_FALLBACK", "default")
    assert main(words) == 3
    assert "retired" not in capsys.readouterr().out
    assert main([*words, "--fallback", "toolchain, guess"]) == 3
    assert "\nretired  " in capsys.readouterr().out
    assert main([*words, "--fallback", "nearest"]) == 2
    with pytest.raises(UsageError, match="is not a list of toolchain, family, guess, default"):
        read_fallback("family,family")


def test_the_error_covers_the_true_one_after_a_bump(tmp_path: Path) -> None:
    """Five hundred records: `tune bench retired`."""
    target = load_target(BENCHED)
    timed = timed_under(list(drawn(target, 60, 1)), target, bumps(target)["launches"])
    found = covered(timed, 30, tmp_path / "tuning.db")
    assert found["covered"] >= 0.9
    assert found["told"] < 0.5
