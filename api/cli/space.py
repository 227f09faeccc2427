"""`tune space`: tune any T1 space against recorded measurements, or on a device of your own."""

from pathlib import Path
from typing import Annotated

import typer

from tilewright.api.cli.options import JsonFile, Seed, files_of, write_json
from tilewright.api.cli.verbs import verb_app

app = verb_app()


@app.command()
def space(
    t1: Annotated[Path, typer.Argument(help="The space: a T1 JSON file.")],
    replay: Annotated[
        Path | None, typer.Option(help="Recorded measurements: a T4 JSON file, plain or gzipped.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="A device of your own, as MODULE:FACTORY from the working directory.")
    ] = None,
    trials: Annotated[int, typer.Option(help="The number of Configs to measure.")] = 200,
    tries: Annotated[
        Path | None, typer.Option("--try", help="Configs to measure first: a JSON list of knobs and values.")
    ] = None,
    prior: Annotated[
        list[Path] | None,
        typer.Option(
            help="Measurements of the space on another device, which guide the search: a T4 file; repeatable."
        ),
    ] = None,
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> None:
    """Tune any space of the autotuning community's T1 form."""
    from tilewright.tuner.kernel.candidates import read_candidates
    from tilewright.tuner.verbs.space import tune_space

    first = read_candidates(tries)
    found = tune_space(
        t1, replay=replay, device=device, trials=trials, seed=seed, candidates=first, priors=prior or ()
    )
    if json_file is not None:
        write_json(found.to_json(), json_file, files_of(t1, replay, tries, *(prior or ())))
    if json_file == "-":
        return
    typer.echo(f"best       {found.best_us:12.3f} us   trial {found.found_at} of {found.trials}")
    if found.optimum_us is not None:
        typer.echo(f"optimum    {found.optimum_us:12.3f} us   ratio {found.ratio:.3f}")
    typer.echo(f"failed     {found.failed:12d}      on {found.device}")
    typer.echo("config     " + ", ".join(f"{knob}={value}" for knob, value in found.best.items()))
