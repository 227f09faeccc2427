"""Three days of a service with eight tenants, one of whom is hostile, in virtual time.

The hostile one sends as many jobs as its quota allows, all of them urgent, and more whenever one has ended.
The others send a job now and then. Two runners work, things go wrong all the time, and the service sweeps.

    python -m tests.e2e.simulation.days [SEED]
"""

import io
import logging
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.simulation.service import Scenario, Simulation, TroubledDatabase, Troubles
from tilewright.db.service.job_rows import About
from tilewright.db.service.jobs import Jobs
from tilewright.db.service.quotas import Quota, QuotaError
from tilewright.db.service.retention import DAY_S, Keep, sweep
from tilewright.db.service.uploads import Uploads
from tilewright.db.storage.session import DatabaseDownError
from tilewright.tuner.jobs.request import request_to_json
from tilewright.tuner.request import TuneRequest

HOUR_S, HOSTILE = 3600.0, 0
QUOTA = Quota(jobs=100, trials=10_000, stored_bytes=8 << 20, priority=100)
KEEP = Keep(jobs_s=DAY_S / 2, models_s=DAY_S / 4, audit_s=DAY_S, workers_s=DAY_S, stored_bytes=8 << 20)
THREE_DAYS = Scenario(
    tenants=8,
    trials=12,
    batch_s=200.0,
    lease_s=120.0,
    poll_s=10.0,
    troubled_s=3 * DAY_S,
    patience_s=3 * DAY_S,
    troubles=Troubles(0.01, 0.01, 4 * HOUR_S, 8 * HOUR_S, 3 * HOUR_S, 3 * HOUR_S),
)
MODEL_BYTES = 200_000


@dataclass
class Days:
    """What came of them: seconds of virtual time but for `submit_s`, the time that the processor took."""

    waits_s: dict[int, list[float]]
    submit_s: list[float]
    hostile_jobs: int
    refused: int
    sizes_mb: list[float]


class ThreeDays(Simulation):
    """The same service under another load."""

    def __init__(self, seed: int, path: Path, scenario: Scenario = THREE_DAYS) -> None:
        super().__init__(seed, scenario, path)
        self.path = path
        self.sent: dict[str, tuple[int, float]] = {}
        self.days = Days({}, [], 0, 0, [])

    def live(self) -> Days:
        """Three days."""
        self.world.spawn("service", "sweeper", self._sweep)
        self.run()
        for uid, (tenant, sent_s) in self.sent.items():
            until_s = self.began.get(uid, self.world.now_s)
            self.days.waits_s.setdefault(tenant, []).append(until_s - sent_s)
        return self.days

    def _client(self, tenant: int) -> None:
        database = TroubledDatabase(self.real, self)
        jobs, uploads = Jobs(database), Uploads(database)
        number = 0
        while True:
            number += 1
            seed = tenant * 10_000 + number
            spec = request_to_json(
                TuneRequest(Path("m.onnx"), "ascend910", seed=seed, trials=self.scenario.trials)
            )
            urgency = QUOTA.priority if tenant == HOSTILE else 0
            start = time.process_time()
            try:
                digest = uploads.put_model(_model(seed), [], (str(tenant), QUOTA))
                about = About(trials=self.scenario.trials)
                job, _ = jobs.submit(str(tenant), spec, digest, str(seed), urgency, about, QUOTA)
                self.sent[job.uid] = tenant, self.world.now_s
                self.days.hostile_jobs += tenant == HOSTILE
            except QuotaError:
                self.days.refused += 1
                self.world.sleep(60.0)
            except DatabaseDownError:
                self.world.sleep(5.0)
            if tenant != HOSTILE:
                self.days.submit_s.append(time.process_time() - start)
                self.world.sleep(self.world.random.expovariate(1.0 / (4 * HOUR_S)))

    def _sweep(self) -> None:
        while True:
            self.world.sleep(HOUR_S)
            sweep(self.real, KEEP)
            self.real.give_back()
            self.days.sizes_mb.append(self.path.stat().st_size / 1e6)

    def _watch(self) -> None:
        """There is no end before the third day's."""

    def _check(self) -> None:
        """Jobs that ended are swept; what is promised is what `live` hands back."""


def _model(seed: int) -> io.BytesIO:
    return io.BytesIO(random.Random(seed).randbytes(MODEL_BYTES))


def three_days(seed: int, scenario: Scenario = THREE_DAYS) -> Days:
    """The days of one seed."""
    with tempfile.TemporaryDirectory(prefix="tilewright-test-") as folder:
        return ThreeDays(seed, Path(folder) / "tuning.db", scenario).live()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    days = three_days(int(sys.argv[1]) if sys.argv[1:] else 0)
    for tenant, waits in sorted(days.waits_s.items()):
        name = "hostile" if tenant == HOSTILE else f"tenant {tenant}"
        worst, mean = max(waits) / HOUR_S, sum(waits) / len(waits) / HOUR_S
        print(f"{name}: {len(waits)} jobs, waited {mean:.2f} h in the mean, {worst:.2f} h at most")
    submits = sorted(days.submit_s)
    print(f"{days.hostile_jobs} hostile jobs, {days.refused} refused")
    print(f"submit, processor time: p99 {submits[int(0.99 * len(submits))] * 1e3:.1f} ms of {len(submits)}")
    sizes = [max(days.sizes_mb[at : at + 24]) for at in (0, 24, 48)]
    print(f"file, at most on each day: {', '.join(f'{size:.1f}' for size in sizes)} MB")
