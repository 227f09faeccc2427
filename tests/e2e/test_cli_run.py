"""`tune` as a user runs it: the installed command, real files, a real database."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.onnx_models import saved, small_cnn
from tilewright.api.cli.main import main

TUNE = Path(sys.executable).parent / "tune"
BUDGET = 128


def tune(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TUNE, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=110, check=False
    )


def run_arguments(model: Path, trials: int = BUDGET, ray: str = "none") -> list[str]:
    return ["run", str(model), "--target", "ascend310", "--trials", str(trials), "--ray", ray, "--json", "-"]


def answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def search_trials(database: Path) -> list[tuple[str, str, float]]:
    """(workload, config, latency) of every search trial of kernels, in order."""
    question = (
        "select w.digest, t.config_digest, t.latency_us from trial t join workload w on t.workload_id = w.id"
        " where t.purpose = 'search' and w.kind = 'kernel' order by t.number"
    )
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return list(connection.execute(question))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(small_cnn(), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def tuned(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with a database in it, and the answer of the run that filled it."""
    folder = tmp_path_factory.mktemp("tuned")
    return folder, answer(tune(*run_arguments(model), cwd=folder))


def test_the_answer_has_what_the_contract_lists(tuned: tuple[Path, dict[str, Any]]) -> None:
    _, found = tuned
    for figures in ("default", "tuned", "bound"):
        assert set(found[figures]) >= {"latency_us", "latency_cycles", "energy_uj", "peak_bytes"}
    assert found["bound"]["latency_us"] <= found["tuned"]["latency_us"] <= found["default"]["latency_us"]
    assert found["speedup"] >= 1.0
    assert found["trials"] == BUDGET
    assert found["stop_reason"] == "budget"
    assert found["verification"] == "value-exact"
    gap = found["gap"]
    parts = gap["launch_us"] + gap["padding_us"] + gap["bandwidth_us"] + gap["host_us"] + gap["rest_us"]
    assert parts == pytest.approx(found["tuned"]["latency_us"] - found["bound"]["latency_us"])


def test_the_second_run_is_answered_from_the_database(
    tuned: tuple[Path, dict[str, Any]], model: Path
) -> None:
    folder, first = tuned
    second = answer(tune(*run_arguments(model, ray="203.0.113.1:1"), cwd=folder))
    assert second["stop_reason"] == "database"
    assert second["trials"] == 0
    assert second["tuned"] == first["tuned"]
    assert second["default"] == first["default"]
    assert second["cache_hits"] == len(second["kernels"])


def test_lookup_compile_and_verify_use_what_was_tuned(
    tuned: tuple[Path, dict[str, Any]], model: Path
) -> None:
    folder, _ = tuned
    here = (model, "--target", "ascend310")
    assert tune("lookup", *here, cwd=folder).returncode == 0
    missed = tune("lookup", model, "--target", "tpu_v4i", cwd=folder)
    assert missed.returncode == 3
    assert "target" in missed.stdout
    compiled = tune("compile", *here, "-o", "program.json", cwd=folder)
    assert compiled.returncode == 0, compiled.stderr
    assert json.loads((folder / "program.json").read_text())["format"] == "tilewright-program"
    verified = tune("verify", *here, "--values", cwd=folder)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert tune("db", "stats", cwd=folder).returncode == 0


def test_one_seed_gives_the_same_trials(
    tuned: tuple[Path, dict[str, Any]], model: Path, tmp_path: Path
) -> None:
    folder, _ = tuned
    answer(tune(*run_arguments(model), cwd=tmp_path))
    assert search_trials(tmp_path / "tilewright.db") == search_trials(folder / "tilewright.db")


def test_a_killed_run_goes_on_where_its_records_end(
    tuned: tuple[Path, dict[str, Any]], model: Path, tmp_path: Path
) -> None:
    folder, undisturbed = tuned
    database = tmp_path / "tilewright.db"
    for share in (0.1, 0.3):
        victim = subprocess.Popen(
            [TUNE, *run_arguments(model)], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while victim.poll() is None and recorded(database) < share * BUDGET:
            time.sleep(0.01)
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
    killed_at = recorded(database)
    resumed = answer(tune(*run_arguments(model), cwd=tmp_path))
    trials = search_trials(database)
    assert 0 < killed_at < len(trials) == BUDGET
    assert len({(workload, config) for workload, config, _ in trials}) == BUDGET
    assert trials == search_trials(folder / "tilewright.db")
    assert resumed["tuned"] == undisturbed["tuned"]


def test_an_interrupted_run_says_so_and_goes_on_at_once(model: Path, tmp_path: Path) -> None:
    database = tmp_path / "tilewright.db"
    # At this pace it is far from its end when the signal comes, however late that is.
    arguments = [*run_arguments(model, trials=4096), "--lab", "pace_s=0.1"]
    victim = subprocess.Popen(
        [TUNE, *arguments],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A suite that runs in the background of a shell has the signal ignored, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while victim.poll() is None and not recorded(database):
        time.sleep(0.01)
    victim.send_signal(signal.SIGINT)
    _, told = victim.communicate(timeout=110)
    assert victim.returncode == 130
    assert told.splitlines()[-1] == "interrupted: run the same line again to go on"
    assert "Traceback" not in told
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        assert list(connection.execute("select count(*) from run where lease_until_s is not null")) == [(0,)]


def test_runs_of_one_network_at_once_take_turns(model: Path, tmp_path: Path) -> None:
    """Whoever comes first, the largest budget is spent in all, and nobody measures what another has."""
    started = [
        subprocess.Popen(
            [TUNE, *run_arguments(model, trials)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for trials in (16, 16, 24)
    ]
    ended = [process.communicate(timeout=110) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], [told for _, told in ended]
    assert sum(json.loads(out)["trials"] for out, _ in ended) == 24
    assert recorded(tmp_path / "tilewright.db") == 24


def recorded(database: Path) -> int:
    try:
        return len(search_trials(database))
    except sqlite3.Error:
        return 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.onnx", "--target", "ascend910"], "missing.onnx"),
        (["text.onnx", "--target", "ascend910"], "ONNX"),
        (["MODEL", "--target", "nope"], "nope"),
        (["MODEL", "--target", "ascend910", "--trials", "-1"], "--trials -1"),
        (["MODEL", "--target", "ascend910", "--time-limit", "nan"], "--time-limit"),
        (["MODEL", "--target", "ascend910", "-O", "7"], "-O 7"),
        (["MODEL", "--target", "ascend910", "--objective", "beauty"], "beauty"),
        (["MODEL", "--target", "ascend910", "--sampler", "oracle"], "oracle"),
        (["MODEL", "--target", "ascend910", "--dim", "batch"], "batch"),
        (["MODEL", "--target", "ascend910", "--workers", "0"], "--workers 0"),
        (["MODEL", "--target", "ascend910", "--db", "/proc/tuning.db"], "/proc/tuning.db"),
        (["MODEL"], "--target"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    words: str,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.onnx").write_text("not a model")
    code = main(["run", *[str(model) if a == "MODEL" else a for a in arguments]])
    is_one_line(code, words, capsys.readouterr().err)


def test_bad_input_ends_the_command_with_exit_code_2(model: Path, tmp_path: Path) -> None:
    done = tune("run", model, "--target", "nope", cwd=tmp_path)
    is_one_line(done.returncode, "nope", done.stderr)


def is_one_line(code: int, words: str, told: str) -> None:
    lines = [line for line in told.splitlines() if not line.startswith("import:")]
    assert code == 2
    assert len(lines) == 1
    assert words in lines[0]
    assert "Traceback" not in told


def test_benches_run_from_any_folder(tmp_path: Path) -> None:
    """The package alone is installed; the benches lie beside it in a clone."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    asked = [str(TUNE), "bench", "host", "--networks", "nosuch"]
    done = subprocess.run(asked, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 2, done.stderr
    assert "no network 'nosuch'" in done.stderr
