"""One job through the real search, on a simulated device in the runner's own process."""

import json
from pathlib import Path

import pytest

from tests.api.service import model_bytes
from tilewright.api.pages.one_file import one_file
from tilewright.api.pages.story import tell
from tilewright.compiler_core.lowering.formats.program_json import program_from_json
from tilewright.db.browse import Browse, Viewer, Wanted
from tilewright.db.service.job_rows import JobState
from tilewright.db.service.jobs import Jobs
from tilewright.db.service.uploads import Uploads
from tilewright.db.storage.session import Database, open_database
from tilewright.tuner.jobs.request import request_to_json
from tilewright.tuner.jobs.runner import JobRunner, RunnerSettings
from tilewright.tuner.jobs.work import Tuning
from tilewright.tuner.network.events import Event, Measured
from tilewright.tuner.request import PoolChoice, TuneRequest
from tilewright.tuner.verbs.lookup import lookup

MODEL = Path("model.onnx")


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_job_is_tuned(database: Database, tmp_path: Path, level: int) -> None:
    request = TuneRequest(MODEL, "ascend910", level=level, trials=4 if level else None, dims={"batch": 2})
    digest = Uploads(database).put(model_bytes(64, "batch"))
    job, _ = Jobs(database).submit("tenant", request_to_json(request), digest)
    work = Tuning(str(tmp_path / "tuning.db"), PoolChoice(1, "none"))
    assert JobRunner(database, RunnerSettings("test"), work).step()
    ended = Jobs(database).get(job.uid)
    assert ended is not None
    assert ended.state is JobState.SUCCEEDED, ended.error
    result = json.loads(ended.result or "")
    answered = result["tuned"] or result["guess"]
    assert answered["latency_us"] <= result["default"]["latency_us"]
    if level == 0:
        assert result["files"] == {}
        return
    pictures = json.loads(Uploads(database).get(result["files"]["pictures.json"]) or b"")
    assert pictures["stages"][0]["end_us"] > 0
    program = (Uploads(database).get(result["files"]["program.json"]) or b"").decode()
    assert len(program_from_json(program).stages) == len(pictures["stages"])
    if level == 2:
        runs, _ = Browse(database).runs(Viewer("tenant", operator=False))
        assert [run.asked.job for run in runs] == [job.uid]


def test_a_range_is_tuned_and_every_size_of_it_answers(database: Database, tmp_path: Path) -> None:
    model = model_bytes(64, "batch")
    request = TuneRequest(MODEL, "ascend910", trials=8, ranges={"batch": (0, 40)})
    job, _ = Jobs(database).submit("tenant", request_to_json(request), Uploads(database).put(model))
    work = Tuning(str(tmp_path / "tuning.db"), PoolChoice(1, "none"))
    assert JobRunner(database, RunnerSettings("test"), work).step()
    ended = Jobs(database).get(job.uid)
    assert ended is not None
    assert ended.state is JobState.SUCCEEDED, ended.error
    result = json.loads(ended.result or "")
    assert (result["intervals"][0]["low"], result["intervals"][-1]["high"]) == (0, 40)
    assert set(result["files"]) == {"program.json", "pictures.json"}
    story = tell(ended, [], {})
    assert f"tuned at {result['intervals'][-1]['tuned_at']}" in one_file("model", story)
    path = tmp_path / MODEL
    path.write_bytes(model)
    for size in (0, 1, 7, 39, 40):
        assert lookup(path, "ascend910", dims={"batch": size}, database=work.url).complete


def test_a_stopped_search_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    """The second runner measures only what the first had not, and finds the same trials."""
    stories = []
    for stop_after in (0, 4):
        path = tmp_path / f"{stop_after}.db"
        database = open_database(path)
        request = TuneRequest(MODEL, "ascend910", trials=16, seed=5, dims={"batch": 512})
        digest = Uploads(database).put(model_bytes(4096, "batch"))
        job, _ = Jobs(database).submit("tenant", request_to_json(request), digest)
        work = Tuning(str(path), PoolChoice(1, "none"))
        watch = StopAfter(stop_after)
        watch.runner = first = JobRunner(database, RunnerSettings("first"), work, watch)
        assert first.step()
        if stop_after:
            waiting = Jobs(database).get(job.uid)
            assert waiting is not None
            assert (waiting.state, waiting.attempts) == (JobState.QUEUED, 0)
            assert JobRunner(database, RunnerSettings("second"), work).step()
        ended = Jobs(database).get(job.uid)
        assert ended is not None
        assert ended.state is JobState.SUCCEEDED, ended.error
        (run,), _ = Browse(database).runs(Viewer(None, operator=True))
        rows, _ = Browse(database).records(Viewer(None, operator=True), Wanted(run=run.uid), limit=500)
        stories.append([(row.row.trial.purpose, row.row.trial.config.digest) for row in rows][::-1])
        database.close()
    assert len(stories[0]) >= 16
    assert stories[0] == stories[1]


class StopAfter:
    """Watches a runner, and stops it once so many trials are measured."""

    runner: JobRunner

    def __init__(self, trials: int) -> None:
        self.trials = trials

    def event(self, event: Event) -> None:
        if self.trials and isinstance(event, Measured) and event.trials >= self.trials:
            self.runner.stop()

    def ended(self, outcome: str) -> None:
        pass
