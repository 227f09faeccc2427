"""Work for a runner that needs no Ray: runs in the real database, each trial following from its number."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.db.samples import MODEL, TARGET, TOOLCHAIN, digest, ok, trial, workload
from tilewright.db.browse import Browse, Viewer
from tilewright.db.records import NewRun
from tilewright.db.repository import Repository
from tilewright.db.storage.session import Database
from tilewright.measure.objectives import Objective
from tilewright.tuner.jobs.runner import WorkResult
from tilewright.tuner.network.events import Measured, Phase
from tilewright.tuner.request import Hooks, TuneRequest

ROW = workload("fake kernel")
BATCH = 4


@dataclass(frozen=True)
class FakeReport:
    best_us: float
    trials: int

    def to_json(self) -> dict[str, Any]:
        figures = {"latency_us": self.best_us, "latency_cycles": 1.0, "energy_uj": None, "peak_bytes": 4096}
        return {
            "model": "fake",
            "graph_digest": MODEL.digest,
            "target": TARGET.name,
            "objective": "latency",
            "default": {**figures, "latency_us": 40.0},
            "tuned": figures,
            "bound": {**figures, "latency_us": 5.0},
            "speedup": 40.0 / self.best_us,
            "gap": {"ratio": self.best_us / 5.0, "launch_us": 0.5},
            "trials": self.trials,
            "cache_hits": 0,
            "kernels": [
                {
                    "workload_digest": ROW.digest,
                    "ops": ["contract", "<relu>"],
                    "count": 3,
                    "latency_us": self.best_us,
                    "bound_us": 5.0,
                    "trials": self.trials,
                    "source": "measured",
                    "config": {},
                }
            ],
            "host_ops": [],
            "stop_reason": "budget",
            "regret_estimate": float("inf"),
            "wall_s": 0.1,
        }


PICTURES = (
    b'{"version":1,"target":{"name":"ascend910","cores":32,"port":"LLB","macs_per_us":1e6,'
    b'"port_bytes_per_us":1e3,"llb_bytes":1000},"stages":[{"name":"contract","start_us":0,"end_us":5,'
    b'"macs":1000,"port_bytes":100,"cores":32}],"values":[{"name":"x","offset":0,"bytes":64,"first":0,'
    b'"last":0}],"arena_bytes":64,"latency_us":5}'
)


class FakeWork:
    """`pause_s` between batches; `trials` of a request that names no budget."""

    def __init__(self, database: Database, pause_s: float = 0.0, trials: int = 12) -> None:
        self.repository = Repository(database)
        self.browse = Browse(database)
        self.pause_s = pause_s
        self.trials = trials

    def run(self, request: TuneRequest, hooks: Hooks) -> FakeReport:
        assert request.model.stat().st_size > 0
        budget = self.trials if request.trials is None else request.trials
        asked = NewRun(
            target_digest=TARGET.digest,
            toolchain=TOOLCHAIN,
            objective=Objective.LATENCY,
            seed=request.seed,
            model_digest=MODEL.digest,
            trials_budget=budget,
            job=hooks.job,
        )
        self.repository.put_target(TARGET)
        self.repository.put_model(MODEL)
        self.repository.put_workloads([ROW])
        earlier, _ = self.browse.runs(Viewer(None, operator=True), hooks.job)
        if earlier and earlier[0].finished_at_s is not None:  # it was told to nobody before a crash
            return self.report(request.seed, budget)
        run = earlier[0].uid if earlier else self.repository.start_run(asked).uid
        hooks.on_event(Phase("search", f"{budget} trials"))
        done = len(self.repository.trials_of_run(run))
        while done < budget and not hooks.cancelled():
            time.sleep(self.pause_s)
            numbers = range(done, min(done + BATCH, budget))
            batch = [trial(run, n, ROW, ok(latency_of(request.seed, n))) for n in numbers]
            self.repository.commit_trials(batch, hooks.guard)
            done += len(batch)
            best = min(latency_of(request.seed, n) for n in range(done))
            hooks.on_event(Measured(done, budget, "fake", best, best, 5.0, "us", best, 0.01, 0.02))
        self.repository.finish_run(run, "budget", guard=hooks.guard)
        return self.report(request.seed, done)

    def report(self, seed: int, done: int) -> FakeReport:
        return FakeReport(min((latency_of(seed, n) for n in range(done)), default=40.0), done)

    def files(self, request: TuneRequest, answer: WorkResult) -> Mapping[str, bytes]:
        return {"pictures.json": PICTURES, "program.json": b'{"version": 1}'}


def latency_of(seed: int, number: int) -> float:
    return 6.0 + int(digest(f"{seed} {number}")[:4], 16) / 4096
