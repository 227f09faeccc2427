"""The runner: takes jobs from the database, one at a time, and finishes each or gives it back.

A runner may die at any point: its lease runs out, and the next runner goes on where the records end. A runner
that was suspended past the end of its lease writes nothing more: every commit checks the lease in its own
transaction.
"""

import json
import logging
import math
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from tilewright.compiler_core.errors import CheckError, InputError, RecordError, TilewrightError
from tilewright.compiler_core.files.bundle import unpack
from tilewright.compiler_core.files.scratch import scratch
from tilewright.db.service.job_rows import JobLease, JobRow, JobState
from tilewright.db.service.jobs import Jobs
from tilewright.db.service.leases import LeaseLostError
from tilewright.db.service.uploads import Uploads
from tilewright.db.storage.session import Database, DatabaseDownError
from tilewright.tuner.jobs.request import is_preset, read_request
from tilewright.tuner.network.events import Counted, Event, Measured
from tilewright.tuner.network.holding import Holding
from tilewright.tuner.request import Hooks, TuneRequest

log = logging.getLogger("tilewright.runner")
BUG = "internal error; see the runner's log under the number of this job"


class WorkResult(Protocol):
    """The result of a job's work."""

    def to_json(self) -> dict[str, Any]:
        """The result, as plain values."""
        ...


class JobWork(Protocol):
    """Does the work of a job; `tilewright.tuner.jobs.work.Tuning` is the implementation in use.

    Model and target of the request are files on disk. The guard of the hooks checks the lease and has to be
    asked in every transaction that writes. Their `cancelled` has to be asked between batches; it raises
    StoppedError where the work must stop at once and leave its run open.
    """

    def run(self, request: TuneRequest, hooks: Hooks) -> WorkResult:
        """Tunes and records. Raises what `tune run` raises."""
        ...

    def files(self, request: TuneRequest, answer: WorkResult) -> Mapping[str, bytes]:
        """The files for download, by name."""
        ...


class Observer(Protocol):
    """Counts events, for metrics."""

    def event(self, event: Event) -> None:
        """Something happened in a run."""
        ...

    def ended(self, outcome: str) -> None:
        """A job left this runner: a final state, or `lost`, `released`, `abandoned`."""
        ...


class StoppedError(TilewrightError):
    """The work has to stop at once: the runner shuts down, or the job is not its own any more."""


@dataclass(frozen=True)
class RunnerSettings:
    """Times in seconds. `offered` is the name of the CPU that jobs may run on, if any.

    A job whose runner died waits at most `lease_s` + `poll_s` for the next one.
    """

    name: str
    lease_s: float = 8.0
    heartbeat_s: float = 2.0
    poll_s: float = 0.5
    offered: str = ""


class JobRunner:
    """Works on jobs until it is stopped. One thread at a time; several runners may share a database."""

    def __init__(
        self, database: Database, settings: RunnerSettings, work: JobWork, observer: Observer | None = None
    ) -> None:
        self.jobs = Jobs(database)
        self.uploads = Uploads(database)
        self.settings = settings
        self._work = work
        self._observer = observer
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Gives the current job back after its batch, and ends `serve`; callable from a signal handler."""
        self._stopping.set()

    def serve(self) -> None:
        """Takes job after job; waits where there is none, or no database."""
        log.info("runner is ready", extra={"runner": self.settings.name})
        while not self._stopping.is_set():
            try:
                busy = self.step()
            except DatabaseDownError as error:
                log.warning("database does not answer: %s", error)
                busy = False
            if not busy:
                self._stopping.wait(self.settings.poll_s)
        log.info("runner has stopped", extra={"runner": self.settings.name})

    def step(self) -> bool:
        """Works on one job, if there is one to lease."""
        lease = self.jobs.lease(self.settings.name, self.settings.lease_s, self.settings.offered)
        if lease is None:
            return False
        facts = {"job": lease.job.uid, "attempt": lease.job.attempts, "token": lease.token}
        log.info("job leased", extra=facts)
        with Holding(partial(self._beat, lease), self.settings.lease_s, self.settings.heartbeat_s) as holding:
            outcome = self._attempt(lease, holding)
        log.info("job left: %s", outcome, extra=facts)
        if self._observer is not None:
            self._observer.ended(outcome)
        return True

    def _beat(self, lease: JobLease) -> bool:
        return self.jobs.heartbeat(lease, self.settings.lease_s).job.cancel_requested

    def _attempt(self, lease: JobLease, holding: Holding) -> str:
        try:
            return self._work_on(lease, holding)
        except LeaseLostError:
            return "lost"
        except DatabaseDownError as error:
            log.warning("job abandoned: %s", error, extra={"job": lease.job.uid})
            return "abandoned"
        except StoppedError:
            return "lost" if holding.lost else self._release(lease)
        except InputError as error:
            return self._finish(lease, JobState.FAILED, error=str(error))
        except CheckError as error:
            return self._finish(lease, JobState.FAILED, error=f"verification failed: {error}")
        except TilewrightError as error:
            return self._finish(lease, JobState.FAILED, error=f"nothing could be measured: {error}")
        except Exception:  # one job must not end the runner; the log has the trace
            log.exception("job failed by a bug", extra={"job": lease.job.uid})
            return self._finish(lease, JobState.FAILED, error=BUG)

    def _work_on(self, lease: JobLease, holding: Holding) -> str:
        with scratch("job") as directory:
            request, hooks = self._unpacked(lease.job, directory), self._hooks(lease, holding)
            answer = self._work.run(request, hooks)
            result = finite(answer.to_json())
            result["files"] = self._keep(self._work.files(request, answer))
        state = JobState.CANCELLED if holding.cancelled else JobState.SUCCEEDED
        return self._finish(lease, state, json.dumps(result))

    def _unpacked(self, job: JobRow, directory: Path) -> TuneRequest:
        """The request of the job, its model and target written into `directory`."""
        request = read_request(job.spec)
        model = directory / "model" / request.model.name
        model.parent.mkdir()
        if job.upload_digest is None or self.uploads.size(job.upload_digest) is None:
            raise RecordError("the model of this job is not in the database any more; submit it again")
        with (directory / "upload").open("w+b") as file:
            file.writelines(self.uploads.parts(job.upload_digest))
            unpack(file, model)
        (directory / "upload").unlink()
        target: str | Path = request.target
        if not is_preset(request):
            target = directory / "target.toml"
            target.write_text(str(request.target), encoding="utf-8")
        return replace(request, model=model, target=target)

    def _hooks(self, lease: JobLease, holding: Holding) -> Hooks:
        def cancelled() -> bool:
            if holding.lost or self._stopping.is_set():
                raise StoppedError("the runner stops working on this job")
            return holding.cancelled

        def on_event(event: Event) -> None:
            if isinstance(event, Counted):
                return
            kind, body = type(event).__name__.lower(), json.dumps(finite(asdict(event)))
            self.jobs.add_event(lease, kind, body, progress=isinstance(event, Measured))
            if self._observer is not None:
                self._observer.event(event)

        return Hooks(on_event, self.jobs.guard(lease), lease.job.uid, cancelled)

    def _keep(self, files: Mapping[str, bytes]) -> dict[str, str]:
        return {name: self.uploads.put(content) for name, content in files.items()}

    def _finish(self, lease: JobLease, state: JobState, result: str | None = None, error: str = "") -> str:
        try:
            self.jobs.finish(lease, state, result, error)
        except LeaseLostError:
            return "lost"
        except DatabaseDownError:
            return "abandoned"
        return str(state)

    def _release(self, lease: JobLease) -> str:
        try:
            self.jobs.release(lease)
        except (LeaseLostError, DatabaseDownError):
            return "lost"
        return "released"


def finite(value: Any) -> Any:
    """`value` as JSON can hold it: infinities and NaN become null, tuples lists."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return value
