"""What people call a workload, from records and from results of jobs."""

import json
from dataclasses import replace
from pathlib import Path

from tests.db.samples import MODEL, TARGET, asked, digest, ok, trial, workload
from tests.onnx_models import saved, two_parts
from tilewright.db.answering.titles import NETWORK, names_in_runs, titles_of
from tilewright.db.browse import Browse, Viewer, Wanted
from tilewright.db.repository import Repository
from tilewright.db.service.job_rows import About
from tilewright.db.service.jobs import Jobs
from tilewright.db.storage.schema import job
from tilewright.db.storage.session import open_database
from tilewright.tuner.verbs.tune import tune


def test_a_workload_is_called_by_its_ops_and_what_it_makes(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    answer = tune(saved(two_parts(), tmp_path), "ascend310", trials=4, database=path, ray="none")
    database = open_database(path)
    Repository(database).put_workloads([workload("of somebody else's space")])
    kernel = answer.kernels[0]
    titles = titles_of(database, [kernel.workload_digest, answer.graph_digest, workload("x").digest])
    assert titles[answer.graph_digest] == NETWORK
    assert titles[kernel.workload_digest].startswith(" + ".join(kernel.ops[:1]))
    assert "which makes f" in titles[kernel.workload_digest]
    assert titles_of(database, [workload("of somebody else's space").digest]) == {}
    database.close()


def test_the_result_of_a_job_names_its_kernels(tmp_path: Path) -> None:
    database = open_database(tmp_path / "t.db")
    repository, row = Repository(database), workload()
    repository.put_target(TARGET)
    repository.put_model(MODEL)
    repository.put_workloads([row])
    uid = Jobs(database).submit("tenant", "{}", about=About("m", "t"))[0].uid
    result = {"kernels": [{"name": "layer1.conv + relu", "workload_digest": row.digest}]}
    with database.writing() as connection:
        connection.execute(job.update().values(result=json.dumps(result)))
    run = repository.start_run(replace(asked(), job=uid)).uid
    repository.commit_trials([trial(run, 0, row, ok(3.0))])
    assert names_in_runs(database, [run]) == {(run, row.digest): "layer1.conv + relu"}
    browse, everybody = Browse(database), Viewer(None, operator=True)
    for beginning, found in ((row.digest[:5], 1), (row.digest, 1), (digest("other")[:12], 0)):
        assert len(browse.records(everybody, Wanted(workload=beginning))[0]) == found
    database.close()
