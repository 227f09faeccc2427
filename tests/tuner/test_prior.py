"""Records of earlier runs teach about kernels and targets they do not hold."""

from pathlib import Path

import numpy as np

from tests.onnx_models import saved, two_parts
from tilewright.compiler_core.lowering.pipeline import plan_graph
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.toolchain import TOOLCHAIN
from tilewright.cost_model.learned.scores import rank_correlation
from tilewright.db.repository import Repository
from tilewright.db.storage.session import open_database
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.search_space.moves import sample
from tilewright.tuner.kernel.prior import MOST, prior_records
from tilewright.tuner.kernel.run_model import RunModel
from tilewright.tuner.kernel.task import kernel_tasks
from tilewright.tuner.verbs.tune import tune


def test_a_prior_ranks_on_another_target_before_anything_is_measured_there(tmp_path: Path) -> None:
    model = saved(two_parts(), tmp_path)
    report = tune(model, "ascend310", trials=48, database=tmp_path / "tuning.db", ray="none")
    assert report.trials > 0
    opened = open_database(tmp_path / "tuning.db", read_only=True)
    repository = Repository(opened)
    records = prior_records(repository, repository.kernel_trials(TOOLCHAIN, float("inf"), MOST))
    none = prior_records(repository, repository.kernel_trials(TOOLCHAIN, 0.0, MOST))
    other = prior_records(repository, repository.kernel_trials("another toolchain", float("inf"), MOST))
    opened.close()
    assert none == other == ()
    assert sum(len(record.latency_log) for record in records) == report.trials

    target = load_target("ascend910")
    task = kernel_tasks(plan_graph(import_model(model).graph, target), target)[0]
    problem = task.problem()
    prior = RunModel("run")
    prior.set_prior(problem, records)
    predictor = prior.predictor(problem)
    assert predictor is not None
    rows = sample(task.space, 60, np.random.default_rng(0))
    measured = SimulatedDevice(target).measure(task.workload, [task.space.decode(row) for row in rows])
    latency = np.log([each.latency_us or np.nan for each in measured])
    assert rank_correlation(predictor.predict(rows).mean_log, latency) > 0.5
