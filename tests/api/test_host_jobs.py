"""Jobs for a CPU: only runners whose operator offered that kind of CPU take them."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.api.service import model_bytes
from tests.measure.host.test_device import this_core
from tilewright.compiler_core.errors import UsageError
from tilewright.db.service.job_rows import About, JobRow
from tilewright.db.service.jobs import Jobs
from tilewright.db.service.uploads import Uploads
from tilewright.db.storage.session import Database
from tilewright.tuner.jobs import work as module
from tilewright.tuner.jobs.request import name_of, request_to_json, target_of
from tilewright.tuner.jobs.work import Tuning
from tilewright.tuner.request import Hooks, TuneRequest

LEASE_S = 60.0
MINE, OTHER = name_of(this_core()), name_of(replace(this_core(), identity="z80"))


def submitted(database: Database, target_name: str) -> JobRow:
    spec = request_to_json(TuneRequest(Path("model.onnx"), "ascend910"))
    about = About("model", target_name, "latency", 16)
    return Jobs(database).submit("tenant", spec, Uploads(database).put(model_bytes()), about=about)[0]


def test_names_tell_cpus_apart() -> None:
    assert MINE != OTHER
    assert name_of(target_of("ascend910")) == "ascend910"


def test_a_job_for_a_cpu_waits_for_a_runner_that_offers_it(database: Database) -> None:
    jobs, job = Jobs(database), submitted(database, MINE)
    assert jobs.lease("plain", LEASE_S) is None
    assert jobs.lease("another CPU", LEASE_S, OTHER) is None
    lease = jobs.lease("this CPU", LEASE_S, MINE)
    assert lease is not None
    assert lease.job.uid == job.uid


def test_other_jobs_pass_it(database: Database) -> None:
    jobs = Jobs(database)
    submitted(database, MINE)
    plain = submitted(database, "ascend910")
    lease = jobs.lease("plain", LEASE_S)
    assert lease is not None
    assert lease.job.uid == plain.uid


def test_a_runner_that_does_not_offer_its_cpu_runs_nothing_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_target", lambda _: this_core())
    request = TuneRequest(Path("model.onnx"), "host.toml")
    with pytest.raises(UsageError, match="--host"):
        Tuning("sqlite://").run(request, Hooks())
