"""`tune bench`: repeats the published figures. One subcommand a bench, each a function of `benchmarks`."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

import tilewright
from tilewright.api.cli.options import JsonFile, RangedDims, read_ranges, write_json
from tilewright.api.cli.verbs import verb_app
from tilewright.compiler_core.errors import UsageError

app = verb_app()
Seed = Annotated[int, typer.Option(help="Seed of everything that is drawn at random.")]
Quick = Annotated[bool, typer.Option("--quick", help="The same in about a minute, with fewer cases.")]
Models = Annotated[Path | None, typer.Argument(help="A folder of ONNX files.", exists=True)]
RowsKept = Annotated[
    Path | None,
    typer.Option("--journal", help="A file that keeps finished rows; an interrupted run continues from it."),
]
Reference = Annotated[Path, typer.Option("--reference", help="A folder of reference data.", exists=True)]


@app.callback()
def bench() -> None:
    """Repeat the published figures: rows as they come, then figures with their goals.

    Exit code 1 when a goal is missed.
    """
    import os

    from tilewright.db.layers.settings import NONE, VARIABLE

    root = Path(tilewright.__file__).resolve().parents[1]
    if not (root / "benchmarks").is_dir():
        raise UsageError("the benches are part of a clone of the project, not of the package; run tune there")
    # For this process and its children: the package alone is installed, not what lies beside it.
    sys.path.insert(0, str(root))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    # A bench is answered by what it measured itself, not by the bank.
    os.environ[VARIABLE] = NONE


@app.command()
def models(
    folder: Models = None,
    light: Annotated[bool, typer.Option(help="Also the networks inside the onnx package.")] = True,
    quick: Quick = False,
    seed: Seed = 0,
    journal: RowsKept = None,
    json_file: JsonFile = None,
) -> int:
    """Import, compile, verify and emulate every network of FOLDER, beside onnxruntime."""
    from benchmarks.networks.models import bench_models

    return _report(
        lambda: bench_models(folder, quick=quick, seed=seed, light=light, journal=journal), json_file
    )


@app.command()
def host(
    folder: Models = None,
    networks: Annotated[
        list[str] | None,
        typer.Option(
            help="Whole networks in place of kernels: squeezenet, one of the folder, a file; repeatable."
        ),
    ] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Threads of a network's run; repeatable.")] = None,
    trials: Annotated[int, typer.Option(help="Trials per kernel or network; 0: as published.")] = 0,
    quick: Quick = False,
    seed: Seed = 0,
    journal: RowsKept = None,
    json_file: JsonFile = None,
) -> int:
    """Tune kernels or networks on this CPU, and race them against onnxruntime and OpenBLAS."""
    if networks:
        from benchmarks.host.networks import bench_networks

        chosen: dict[str, Any] = {"folder": folder, "threads": threads or (1,), "journal": journal}
        return _report(
            lambda: bench_networks(networks, quick=quick, seed=seed, trials=trials, **chosen), json_file
        )
    from benchmarks.host.bench import bench_host

    return _report(lambda: bench_host(quick=quick, seed=seed, trials=trials, journal=journal), json_file)


@app.command()
def operators(quick: Quick = False, json_file: JsonFile = None) -> int:
    """Run every operator on the test cases of the ONNX standard, and compare the numbers."""
    from benchmarks.operators.standard_cases import bench_operators

    return _report(lambda: bench_operators(quick=quick), json_file)


@app.command()
def order(reference: Reference, quick: Quick = False, json_file: JsonFile = None) -> int:
    """Find peak memory, proof and arena of the graphs under REFERENCE/order and of synthetic ones."""
    from benchmarks.order.bench import bench_order

    return _report(lambda: bench_order(reference, quick=quick), json_file)


@app.command()
def joint(
    folder: Models = None,
    budget: Annotated[int, typer.Option(help="Trials per network and method.")] = 512,
    quick: Quick = False,
    seed: Seed = 0,
    journal: RowsKept = None,
    json_file: JsonFile = None,
) -> int:
    """Tune whole networks, fusion and tiles together, beside staged tuning and other schedulers."""
    from benchmarks.networks.joint import bench_joint

    return _report(
        lambda: bench_joint(folder, quick=quick, seed=seed, budget=budget, journal=journal), json_file
    )


@app.command()
def simulator(
    reference: Reference,
    quick: Quick = False,
    seed: Seed = 0,
    peers: Annotated[
        Path | None,
        typer.Option(help="The python of an environment with SCALE-Sim and ZigZag, to time these."),
    ] = None,
    json_file: JsonFile = None,
) -> int:
    """Compare cycles with SCALE-Sim's, time the simulator, and rank Configs by the draft."""
    from benchmarks.simulator.bench import bench_simulator

    return _report(lambda: bench_simulator(reference, quick=quick, seed=seed, peers=peers), json_file)


@app.command()
def hardware(
    folder: Models = None,
    quick: Quick = False,
    seed: Seed = 0,
    journal: RowsKept = None,
    plots: Annotated[Path | None, typer.Option(help="Draw the two pictures into this folder.")] = None,
    json_file: JsonFile = None,
) -> int:
    """Measure the gain from fusion on several chips, and few large cores against many small ones."""
    from benchmarks.networks.hardware import bench_hardware

    return _report(
        lambda: bench_hardware(folder, quick=quick, seed=seed, journal=journal, plots=plots), json_file
    )


@app.command()
def lookup(
    records: Annotated[int | None, typer.Option(min=1, help="Records in the database.")] = None,
    postgres_url: Annotated[
        str | None, typer.Option("--postgres", help="URL of an empty PostgreSQL database.")
    ] = None,
    quick: Quick = False,
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> int:
    """Time lookups in a database of a million records."""
    from benchmarks.service.lookup import bench_lookup

    return _report(
        lambda: bench_lookup(seed=seed, quick=quick, records=records, postgres_url=postgres_url), json_file
    )


@app.command()
def demand(quick: Quick = False, seed: Seed = 0, json_file: JsonFile = None) -> int:
    """Count ten million lookups: time per lookup, processor time, size of the file."""
    from benchmarks.service.demand import bench_demand

    return _report(lambda: bench_demand(seed=seed, quick=quick), json_file)


@app.command()
def layers(quick: Quick = False, seed: Seed = 0, json_file: JsonFile = None) -> int:
    """Time a hit in the third layer beside a plain one, and a lookup whose server is away."""
    from benchmarks.service.layers import bench_layers

    few = {"lookups": 3_000, "servers": 5} if quick else {}
    return _report(lambda: bench_layers(seed=seed, **few), json_file)


@app.command()
def retired(quick: Quick = False, seed: Seed = 0, json_file: JsonFile = None) -> int:
    """Check whether the stated error of records of a retired toolchain covers the true one."""
    from benchmarks.service.retired import bench_retired

    return _report(lambda: bench_retired(seed=seed, quick=quick), json_file)


@app.command()
def model(quick: Quick = False, seed: Seed = 0, json_file: JsonFile = None) -> int:
    """Rank kernels and targets without records by the cost model."""
    from benchmarks.search.cost_model import bench_model

    return _report(lambda: bench_model(quick=quick, seed=seed), json_file)


@app.command()
def search(
    replay: Annotated[
        list[Path] | None, typer.Option(help="A T4 table in place of kernels; repeatable.", exists=True)
    ] = None,
    space: Annotated[Path | None, typer.Option(help="The T1 space of the tables.", exists=True)] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="Only tasks with this in their name; repeatable.")
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only this method; repeatable.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Number of seeds per method.")] = None,
    nominal: Annotated[bool, typer.Option("--nominal", help="Also on unskewed chips.")] = False,
    journal: RowsKept = None,
    curves: Annotated[Path | None, typer.Option(help="Draw the curves into this folder.")] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Tables of vela or zigzag (layers), or of host (kernels measured on a CPU)."),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Measure --device again, and write its tables.")
    ] = False,
    rows: Annotated[
        int | None, typer.Option(min=1, help="The most rows per table that --record measures on a CPU.")
    ] = None,
    truth: Annotated[
        bool, typer.Option("--truth", help="Only find the optima of the kernel tasks again.")
    ] = False,
    quick: Quick = False,
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> int:
    """Count trials until a search is near the optimum, beside other tuners."""
    from benchmarks.search.bench import bench_search
    from benchmarks.search.ground_truth import make_truth
    from benchmarks.search.silicon.recorded import record_silicon
    from benchmarks.search.strangers.recorded import record_tool

    if record and device == "host":
        return _report(lambda: record_silicon(task or (), rows=rows or 0, journal=journal), json_file)
    if record:
        return _report(lambda: record_tool(device or ""), json_file)
    if truth:
        names = task or [""]
        return _report(lambda: [make_truth(only=name) for name in names][-1], json_file)
    return _report(
        lambda: bench_search(
            replay or (),
            space,
            quick=quick,
            seed=seed,
            seeds=seeds,
            nominal=nominal,
            tasks=task or (),
            methods=method or (),
            journal=journal,
            curves=curves,
            device=device,
        ),
        json_file,
    )


@app.command()
def allocator(quick: Quick = False, seed: Seed = 0, json_file: JsonFile = None) -> int:
    """Count trials until a network is near its best known, by method of allocation."""
    from benchmarks.search.allocator import bench_allocator

    return _report(lambda: bench_allocator(quick=quick, seed=seed), json_file)


@app.command()
def outlook(
    models: Annotated[list[Path] | None, typer.Argument(help="ONNX files, tuned live.", exists=True)] = None,
    target: Annotated[str, typer.Option(help="The preset that MODELS are tuned for.")] = "ascend910",
    trials: Annotated[int, typer.Option(min=1, help="The budget, in trials.")] = 1024,
    seeds: Annotated[int, typer.Option(min=1, help="Runs per file or recorded task.")] = 2,
    record: Annotated[
        bool, typer.Option("--record", help="Search the known tasks again, and write the file that ships.")
    ] = False,
    quick: Quick = False,
    seed: Seed = 0,
    journal: RowsKept = None,
    json_file: JsonFile = None,
) -> int:
    """Check whether the stated regret of a search covers the true one, on unknown devices."""
    from benchmarks.search.outlook import bench_outlook

    return _report(
        lambda: bench_outlook(
            models or (),
            target=target,
            trials=trials,
            record=record,
            quick=quick,
            seed=seed,
            seeds=seeds,
            journal=journal,
        ),
        json_file,
    )


@app.command()
def ports(quick: Quick = False, seed: Seed = 0, json_file: JsonFile = None) -> int:
    """Compare the draft for this CPU with OSACA and llvm-mca, on the same machine code."""
    from benchmarks.host.ports import bench_ports

    return _report(lambda: bench_ports(quick=quick, seed=seed), json_file)


@app.command()
def metaschedule(
    kernel: Annotated[
        list[str] | None, typer.Option(help="Only kernels with this in their name; repeatable.")
    ] = None,
    budget: Annotated[
        float, typer.Option(min=1.0, help="Processor time per kernel and tuner, in seconds.")
    ] = 120.0,
    seed: Seed = 0,
    journal: RowsKept = None,
    json_file: JsonFile = None,
) -> int:
    """Race kernels on this CPU against those of TVM's MetaSchedule, after equal processor time."""
    from benchmarks.host.metaschedule import bench_metaschedule

    return _report(
        lambda: bench_metaschedule(kernel or (), budget_s=budget, seed=seed, journal=journal), json_file
    )


@app.command()
def farm(
    campaign: Annotated[
        bool, typer.Option("--campaign", help="The long campaign: thousands of kills, some hours.")
    ] = False,
    quick: Quick = False,
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> int:
    """Test the farm: efficiency, workers that die or turn sick, heads that die."""
    from benchmarks.farm.bench import bench_farm

    return _report(lambda: bench_farm(seed=seed, quick=quick, campaign=campaign), json_file)


@app.command()
def answers(
    folder: Models = None,
    light: Annotated[bool, typer.Option(help="Also the networks inside the onnx package.")] = True,
    budget: Annotated[list[int] | None, typer.Option(help="Budget of a run, in trials; repeatable.")] = None,
    objective: Annotated[
        list[str] | None, typer.Option(help="Objective, latency by default; repeatable.")
    ] = None,
    target: Annotated[list[str] | None, typer.Option(help="A preset; repeatable.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds per case.")] = 2,
    quick: Quick = False,
    seed: Seed = 0,
    journal: RowsKept = None,
    json_file: JsonFile = None,
) -> int:
    """Check that every run ends with a verified answer that is no slower than its default."""
    from benchmarks.networks.answers import BUDGETS, TARGETS, bench_answers

    return _report(
        lambda: bench_answers(
            folder,
            light=light,
            budgets=budget or BUDGETS,
            objectives=objective or ["latency"],
            targets=target or TARGETS,
            seeds=seeds,
            seed=seed,
            quick=quick,
            journal=journal,
        ),
        json_file,
    )


@app.command()
def ranges(
    model: Annotated[Path, typer.Argument(help="An ONNX file.", exists=True)],
    dim: RangedDims,
    target: Annotated[str, typer.Option(help="A preset.")] = "ascend910",
    trials: Annotated[int, typer.Option(min=1, help="Trials of the range.")] = 512,
    alone: Annotated[int, typer.Option(min=1, help="Trials per size that is tuned alone.")] = 512,
    sizes: Annotated[int, typer.Option(min=1, help="Number of sizes that are tuned alone.")] = 24,
    looked_up: Annotated[
        int | None, typer.Option(help="Number of other sizes to look up; by default all.")
    ] = None,
    quick: Quick = False,
    seed: Seed = 0,
    journal: RowsKept = None,
    json_file: JsonFile = None,
) -> int:
    """Compare the answers of a tuned range, at sizes between, with each size tuned alone."""
    from benchmarks.networks.ranges import bench_ranges

    dims, ranged = read_ranges(dim)
    if not ranged:
        raise UsageError("give one dim a range, as in --dim seq=1..512")
    ((symbol, (low, high)),) = ranged.items()
    if quick:
        trials, alone, sizes, looked_up = 48, 32, 4, 16
    return _report(
        lambda: bench_ranges(
            model,
            target,
            dims,
            (symbol, low, high),
            trials=trials,
            alone=alone,
            sizes=sizes,
            looked_up=looked_up,
            seed=seed,
            journal=journal,
        ),
        json_file,
    )


def _report(run: Callable[[], dict[str, Any]], json_file: str | None) -> int:
    """Run a bench, show its summary, write its JSON; rows go to stderr when the JSON goes to stdout."""
    rows_to = sys.stderr if json_file == "-" else sys.stdout
    with contextlib.redirect_stdout(rows_to):
        found = run()
        for name, figure in found["summary"].items():
            verdict = "ok" if figure["ok"] else "MISSED"
            typer.echo(f"{name:<36} {figure['value']!s:>14}  goal {figure['goal']!s:<10} {verdict}")
    if json_file is not None:
        write_json(found, json_file)
    return 0 if all(figure["ok"] for figure in found["summary"].values()) else 1
