"""One job through the real search, on a simulated device in the runner's own process."""

import json
from pathlib import Path

import pytest

from compiler_core.program_json import program_from_json
from db.browse import Browse, Viewer
from db.job_rows import JobState
from db.jobs import Jobs
from db.session import Database
from db.uploads import Uploads
from tests.api.service import model_bytes
from tuner.request import TuneRequest
from tuner.runner import Runner, RunnerSettings
from tuner.work import Tuning


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_job_is_tuned(database: Database, tmp_path: Path, level: int) -> None:
    request = TuneRequest("ascend910", level=level, trials=4 if level else None, dims={"batch": 2})
    digest = Uploads(database).put(model_bytes(64))
    job, _ = Jobs(database).submit("tenant", request.to_json(), digest)
    work = Tuning(str(tmp_path / "tuning.db"), workers=1, ray="none")
    assert Runner(database, RunnerSettings("test"), work).step()
    ended = Jobs(database).get(job.uid)
    assert ended is not None
    assert ended.state is JobState.SUCCEEDED, ended.error
    result = json.loads(ended.result or "")
    assert result["tuned"]["latency_us"] <= result["default"]["latency_us"]
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
