"""`tune run --mlflow URI`: a run with its parameters, figures, report and Program in MLflow.

The library is loaded only for this. Nothing is sent but to the address that was given.
"""

import importlib.util
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

from tilewright.compiler_core.errors import TilewrightError, UsageError
from tilewright.tuner.answer.report import Report
from tilewright.tuner.request import TuneRequest

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "tilewright"
SETTINGS = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true"}
"""It sends nothing to its makers, and a folder may be the store."""
FIGURES = ("latency_us", "energy_uj", "peak_bytes")


class TrackingError(TilewrightError):
    """The tracking server does not take a run; the run itself is in the database."""


@dataclass(frozen=True)
class Tracker:
    """An experiment of a tracking server, reached once before anything is measured."""

    uri: str
    client: "MlflowClient"
    experiment: str

    @staticmethod
    def open(uri: str) -> "Tracker":
        """The experiment `tilewright` there, made where it is missing. UsageError where that cannot be."""
        if importlib.util.find_spec("mlflow") is None:
            raise UsageError("--mlflow needs the package mlflow-skinny or mlflow, which is not installed")
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            client = MlflowClient(tracking_uri=uri)
            known = client.get_experiment_by_name(EXPERIMENT)
            experiment = client.create_experiment(EXPERIMENT) if known is None else known.experiment_id
        except (MlflowException, OSError) as error:
            raise UsageError(f"--mlflow {uri}: {_first_line(error)}") from None
        return Tracker(uri, client, str(experiment))

    def log(self, request: TuneRequest, report: Report) -> str:
        """Logs a run and gives its id. TrackingError where the server does not take it."""
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException

        now_ms = int(time() * 1000)
        try:
            run = self.client.create_run(self.experiment, run_name=f"{report.model} on {report.target}")
            identity = run.info.run_id
            metrics = [Metric(name, value, now_ms, step) for name, value, step in _metrics(report)]
            params = [Param(name, str(value)) for name, value in _params(request, report).items()]
            self.client.log_batch(identity, metrics, params)
            with _artifacts(request, report) as folder:
                self.client.log_artifacts(identity, str(folder))
            self.client.set_terminated(identity)
        except (MlflowException, OSError) as error:
            raise TrackingError(
                f"{self.uri} did not take the run, which is in the database: {_first_line(error)}"
            ) from None
        return str(identity)


def _params(request: TuneRequest, report: Report) -> dict[str, Any]:
    """The request and what identifies its answer; values that were not given are left out."""
    given = {
        "model": report.model,
        "target": report.target,
        "objective": report.objective,
        "level": request.level,
        "trials": request.trials,
        "time_limit_s": request.time_limit_s,
        "sampler": request.sampler,
        "seed": request.seed,
        "device": request.device,
        "lab": request.lab,
        "dims": json.dumps(dict(request.dims)) if request.dims else None,
        "graph_digest": report.graph_digest,
        "target_digest": report.target_digest,
        "verification": report.verification,
        "stop_reason": report.stop_reason,
    }
    return {name: value for name, value in given.items() if value is not None}


def _metrics(report: Report) -> Iterator[tuple[str, float, int]]:
    """Figures by name, as the report has them: `tuned.latency_us`, `speedup`, `gap.ratio`."""
    for which, figures in (("default", report.default), ("tuned", report.tuned), ("bound", report.bound)):
        for figure in FIGURES:
            if (value := getattr(figures, figure)) is not None:
                yield f"{which}.{figure}", float(value), 0
    for name, value in (
        ("speedup", report.speedup),
        ("gap.ratio", report.gap.ratio),
        ("regret_estimate", report.regret_estimate),
        ("trials", report.trials),
        ("database_hits", report.cache_hits),
        ("wall_s", report.wall_s),
    ):
        if value is not None:
            yield name, float(value), 0


@contextmanager
def _artifacts(request: TuneRequest, report: Report) -> Iterator[Path]:
    """A folder with `result.json` and, where something was measured, `report.html` and `program.json`."""
    from tilewright.api.pages.html_report import report as html_report
    from tilewright.compiler_core.lowering.formats.program_json import program_to_json
    from tilewright.tuner.verbs.lookup import compile_known
    from tilewright.tuner.verbs.provenance import provenance_of

    with tempfile.TemporaryDirectory(prefix="tilewright-") as name:
        folder = Path(name)
        (folder / "result.json").write_text(json.dumps(report.to_json(), indent=1), encoding="utf-8")
        if report.measured:
            about: dict[str, Any] = {
                "objective": str(request.objective),
                "dims": request.dims,
                "inputs": request.inputs,
                "database": request.database,
            }
            html_report(request.model, request.target, **about).save(folder / "report.html")
            compiled = compile_known(request.model, request.target, **about)
            program = program_to_json(compiled.program, compiled.graph.names, provenance_of(compiled))
            compiled.close()
            (folder / "program.json").write_text(json.dumps(program), encoding="utf-8")
        yield folder


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
