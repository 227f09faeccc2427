"""`tune sweep`: which chip for these networks."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tilewright.api.cli.options import (
    DEFAULT_DATABASE,
    Database,
    Dims,
    JsonFile,
    Seed,
    TargetName,
    answer,
    files_of,
    read_dims,
)
from tilewright.api.cli.verbs import verb_app
from tilewright.compiler_core.files.outputs import write_text

if TYPE_CHECKING:
    from tilewright.tuner.codesign.sweep import Sweep

app = verb_app()


@app.command()
def sweep(
    models: Annotated[list[Path], typer.Argument(help="ONNX files, tuned on every variant.")],
    target: TargetName,
    vary: Annotated[
        list[str],
        typer.Option(
            help="A number of the target file and its values: l1_kib=256,512, or cores=8..64 by doubling; "
            "repeatable."
        ),
    ],
    trials: Annotated[int, typer.Option(min=0, help="Measurements per network and variant.")] = 128,
    dim: Dims = None,
    seed: Seed = 0,
    database: Database = DEFAULT_DATABASE,
    workers: Annotated[int, typer.Option(help="Worker processes on this machine.")] = 2,
    ray: Annotated[
        str,
        typer.Option(
            help="Where trials are measured: none (in this process), local, or HOST:PORT of a farm."
        ),
    ] = "none",
    svg: Annotated[Path | None, typer.Option(help="Draw latency over area into this file.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Tune MODELS on every variant of a target, and print which variants none beats.

    Variants share the database: what was measured on one guides the search on the next. The area is a proxy
    (docs/targets.md), for comparing variants only.
    """
    from tilewright.api.pages.drawn.sweep import sweep_svg
    from tilewright.tuner.codesign.sweep import sweep as sweep_variants
    from tilewright.tuner.request import PoolChoice
    from tilewright.tuner.verbs.progress import watching

    with watching() as listener:
        found = sweep_variants(
            models,
            target,
            vary,
            trials=trials,
            dims=read_dims(dim),
            seed=seed,
            database=database,
            pool=PoolChoice(workers, ray),
            listener=listener,
        )
    kept = files_of(*models, target, database)
    if svg is not None:
        write_text(sweep_svg(found), svg, kept)
    answer("\n".join(table(found)), found.to_json(), json_file, kept)


def table(found: "Sweep") -> list[str]:
    """A line a variant; those that none beats are marked."""
    lines = [f"  {'us':>12} {'uJ':>12} {'mm2':>9} {'gap':>6} {'trials':>7}  {found.base} with"]
    for row in found.rows:
        gap = max(each.tuned_us / each.bound_us if each.bound_us else 1.0 for each in row.networks)
        energy = "-" if row.energy_uj is None else f"{row.energy_uj:.1f}"
        trials = sum(each.trials for each in row.networks)
        mark = " " if row.beaten else "*"
        numbers = f"{row.latency_us:>12.2f} {energy:>12} {row.area_mm2:>9.2f} {gap:>6.2f} {trials:>7}"
        lines.append(f"{mark} {numbers}  {row.label}")
    return [*lines, "* no other variant is better in latency, energy and area at once"]
