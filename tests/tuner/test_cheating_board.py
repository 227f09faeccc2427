"""A board of one's own whose fastest kernels compute other numbers: found through the command line."""

import json
from pathlib import Path

import pytest

from tests.onnx_models import model, node, reals, saved, value
from tilewright.api.cli.main import main
from tilewright.db.repository import Repository
from tilewright.db.storage.session import open_database
from tilewright.measure.results import Status
from tilewright.tuner.verbs.tune import tune

BOARD = """
from dataclasses import replace
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.target_model.file import load_target
from tilewright.measure.faults import stretched
from tilewright.measure.simulator.device import SimulatedDevice

CHIP = SimulatedDevice(load_target("ascend310"))


def cheats(config):
    return int(config.digest[:2], 16) < 100


class Board:
    def describe(self):
        return replace(CHIP.describe(), name="cheating board")

    def measure(self, task, configs):
        told = CHIP.measure(task, configs)
        return [stretched(each, 0.5) if cheats(config) else each for config, each in zip(configs, told)]

    def measure_repeated(self, task, configs, times):
        return self.measure(task, configs)

    def outputs(self, task, config, inputs):
        holding = replace(task.graph, constants={each: inputs[each] for each in task.graph.constants})
        made = interpret(holding, inputs)
        return {each: made[each] * (0 if cheats(config) else 1) for each in task.graph.outputs}
"""


def test_fast_kernels_that_compute_nothing_become_wrong_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cheating.py").write_text(BOARD)
    monkeypatch.chdir(tmp_path)
    constants = {"w": reals(1, 12, 16), "v": reals(2, 16, 12)}
    nodes = [node("MatMul", "x w", "h"), node("Relu", "h", "r"), node("MatMul", "r v", "y")]
    path = saved(model(nodes, [value("x", [8, 12])], ["y"], constants), tmp_path)
    honest = tune(path, "ascend310", trials=24, database=tmp_path / "honest.db", ray="none")
    asked = ["run", str(path), "--target", "ascend310", "--trials", "24", "--device", "cheating:Board"]
    assert main([*asked, "--db", "board.db", "--json", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tuned"]["latency_us"] >= honest.tuned.latency_us * (1.0 - 1e-9)
    repository = Repository(open_database(tmp_path / "board.db"))
    (run,) = repository.runs(5)
    trials = [row.trial.measurement for row in repository.trials_of_run(run.uid)]
    repository.database.close()
    wrong = [each for each in trials if each.status is Status.WRONG]
    assert 3 <= len(wrong) < len(trials)
    assert all(" instead of " in each.reason and " at [" in each.reason for each in wrong)
