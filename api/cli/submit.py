"""`tune submit`: a job for a server."""

from pathlib import Path
from typing import Annotated

import typer

from tilewright.api.cli.options import (
    Inputs,
    JsonFile,
    RangedDims,
    answer,
    files_of,
    read_inputs,
    read_ranges,
    read_share,
)
from tilewright.api.cli.server import DEFAULT_SERVER, Server, connect
from tilewright.api.cli.verbs import verb_app

app = verb_app()


@app.command()
def submit(
    model: Annotated[Path, typer.Argument(help="The ONNX file.")],
    target: Annotated[str, typer.Option(help="The chip: a preset or a TOML file.")],
    level: Annotated[
        int, typer.Option("-O", min=0, max=3, help="Level, as of tune run: 2 and 3 search, 0 and 1 do not.")
    ] = 2,
    trials: Annotated[int | None, typer.Option(min=0, help="The most measurements to make.")] = None,
    time_limit: Annotated[
        float | None, typer.Option(help="The longest time of the search, in seconds.")
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            help="What is minimised: latency, energy, memory, edp, or several for a front, as latency,energy."
        ),
    ] = "latency",
    dim: RangedDims = None,
    given: Inputs = None,
    tries: Annotated[
        Path | None, typer.Option("--try", help="Configs to measure first: a JSON list, or a run's --json.")
    ] = None,
    regret: Annotated[
        str | None,
        typer.Option(help="Stop once the estimated distance from the optimum is this small, as 2% or 0.02."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    priority: Annotated[
        int, typer.Option(min=-100, max=100, help="Of your jobs, the highest runs first.")
    ] = 0,
    idempotency_key: Annotated[
        str | None, typer.Option(help="A word of your own: two submissions with the same word are one job.")
    ] = None,
    json_file: JsonFile = None,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Send a model to be tuned, and print the id of the job."""
    from pydantic import ValidationError

    from tilewright.api.schemas.faults import faults_of
    from tilewright.api.schemas.jobs import JobSpec, dims_json
    from tilewright.compiler_core.errors import UsageError
    from tilewright.compiler_core.target_model.host import HOST
    from tilewright.tuner.kernel.candidates import read_candidates

    try:
        spec = JobSpec.model_validate(
            {
                "target": _target(target),
                "level": level,
                "trials": trials,
                "time_limit_s": time_limit,
                "objective": objective,
                "dims": dims_json(*read_ranges(dim)),
                "inputs": read_inputs(given),
                "candidates": [each.to_json() for each in read_candidates(tries)],
                "regret": read_share(regret, "--regret"),
                "seed": seed,
                "priority": priority,
            }
        )
    except ValidationError as error:
        where, why = faults_of(error)[0]
        raise UsageError(f"{where}: {why}") from None
    with connect(server) as client:
        job = client.submit(model, spec, idempotency_key)
    answer(job.id, job.model_dump(mode="json"), json_file, files_of(model, target, tries))
    if target == HOST:
        typer.echo("it waits for a runner that offers a CPU of this kind: tune runner --host", err=True)


def _target(target: str) -> str:
    """A name as it is, a file as its text: paths mean nothing to a server. `host` is a file of this CPU."""
    from tilewright.compiler_core.target_model.file import target_text
    from tilewright.compiler_core.target_model.host import HOST
    from tilewright.measure.host.file import ensure_host

    if target == HOST:
        return target_text(ensure_host())
    return target_text(target) if target.endswith(".toml") or "/" in target else target
