"""`tune bench`: repeats the published figures. One subcommand a bench, each a function of `benchmarks`."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

import tilewright
from tilewright.api.cli.options import JsonFile, RangedDims, Seed, read_ranges, write_json
from tilewright.api.cli.verbs import verb_app
from tilewright.compiler_core.errors import UsageError

app = verb_app()
Quick = Annotated[bool, typer.Option("--quick", help="A minute's worth.")]
Models = Annotated[Path | None, typer.Argument(help="A folder of ONNX files.", exists=True)]
RowsKept = Annotated[
    Path | None,
    typer.Option("--journal", help="A file that keeps finished rows; an interrupted run continues from it."),
]
Reference = Annotated[Path, typer.Option("--reference", help="A folder of reference data.", exists=True)]


@app.callback()
def bench() -> None:
    """Print rows as they come, then figures with their goals. Exit code 1 when a goal is missed."""
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
        typer.Option(help="Whole networks instead: squeezenet, one of the folder, a file; repeatable."),
    ] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Of a network's run; repeatable.")] = None,
    trials: Annotated[int, typer.Option(help="Trials a kernel or network; 0: as published.")] = 0,
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
    """Every operator on the ONNX standard's own test cases: its numbers must come out."""
    from benchmarks.operators.standard_cases import bench_operators

    return _report(lambda: bench_operators(quick=quick), json_file)


@app.command()
def order(reference: Reference, quick: Quick = False, json_file: JsonFile = None) -> int:
    """Peak memory, proof and arena of the graphs under REFERENCE/order and of synthetic ones."""
    from benchmarks.order.bench import bench_order

    return _report(lambda: bench_order(reference, quick=quick), json_file)


@app.command()
def joint(
    folder: Models = None,
    budget: Annotated[int, typer.Option(help="Trials a network and method.")] = 512,
    quick: Quick = False,
    seed: Seed = 0,
    journal: RowsKept = None,
    json_file: JsonFile = None,
) -> int:
    """Whole networks: fusion, tiles and budget together, beside staged tuning and other schedulers."""
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
        Path | None, typer.Option(help="Python of an environment with SCALE-Sim and ZigZag: times them too.")
    ] = None,
    json_file: JsonFile = None,
) -> int:
    """SCALE-Sim's cycles through Program and timeline, speed, and how well the draft ranks."""
    from benchmarks.simulator.bench import bench_simulator

    return _report(lambda: bench_simulator(reference, quick=quick, seed=seed, peers=peers), json_file)


@app.command()
def hardware(
    folder: Models = None,
    quick: Quick = False,
    seed: Seed = 0,
    journal: RowsKept = None,
    plots: Annotated[Path | None, typer.Option(help="A folder for the two pictures.")] = None,
    json_file: JsonFile = None,
) -> int:
    """The gain from fusion on several chips; few big cores against many small ones."""
    from benchmarks.networks.hardware import bench_hardware

    return _report(
        lambda: bench_hardware(folder, quick=quick, seed=seed, journal=journal, plots=plots), json_file
    )


@app.command()
def lookup(
    records: Annotated[int | None, typer.Option(min=1, help="Records in the database.")] = None,
    postgres_url: Annotated[str | None, typer.Option("--postgres", help="An empty database.")] = None,
    quick: Quick = False,
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> int:
    """How fast a compiler gets its answer from a database of a million records."""
    from benchmarks.service.lookup import bench_lookup

    return _report(
        lambda: bench_lookup(seed=seed, quick=quick, records=records, postgres_url=postgres_url), json_file
    )


@app.command()
def demand(quick: Quick = False, seed: Seed = 0, json_file: JsonFile = None) -> int:
    """What counting ten million lookups costs: a lookup, the processor, the file."""
    from benchmarks.service.demand import bench_demand

    return _report(lambda: bench_demand(seed=seed, quick=quick), json_file)


@app.command()
def retired(quick: Quick = False, seed: Seed = 0, json_file: JsonFile = None) -> int:
    """Whether the error told of records of a retired toolchain covers the true one."""
    from benchmarks.service.retired import bench_retired

    return _report(lambda: bench_retired(seed=seed, quick=quick), json_file)


@app.command()
def model(quick: Quick = False, seed: Seed = 0, json_file: JsonFile = None) -> int:
    """How well the cost model ranks kernels and targets that it has no records of."""
    from benchmarks.search.cost_model import bench_model

    return _report(lambda: bench_model(quick=quick, seed=seed), json_file)


@app.command()
def search(
    replay: Annotated[
        list[Path] | None, typer.Option(help="A T4 table instead of kernels; repeatable.", exists=True)
    ] = None,
    space: Annotated[Path | None, typer.Option(help="The T1 space of the tables.", exists=True)] = None,
    task: Annotated[list[str] | None, typer.Option(help="Part of a kernel task's name; repeatable.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="A method's name; repeatable.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds of every method.")] = None,
    nominal: Annotated[bool, typer.Option("--nominal", help="Also on unskewed chips.")] = False,
    journal: RowsKept = None,
    curves: Annotated[Path | None, typer.Option(help="A folder for pictures of the curves.")] = None,
    device: Annotated[
        str | None,
        typer.Option(help="vela or zigzag: layers on tools of others; host: kernels measured on a CPU."),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Ask or measure --device anew, and write its tables.")
    ] = False,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Most rows of a table that --record measures on a CPU.")
    ] = None,
    truth: Annotated[
        bool, typer.Option("--truth", help="Find the optima of the kernel tasks anew, and nothing else.")
    ] = False,
    quick: Quick = False,
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> int:
    """Trials to come close to the optimum, beside every peer: skewed chips, tables, tools of others."""
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
    """Trials until a network is near its best known, by who shares them out among its kernels."""
    from benchmarks.search.allocator import bench_allocator

    return _report(lambda: bench_allocator(quick=quick, seed=seed), json_file)


@app.command()
def outlook(
    models: Annotated[list[Path] | None, typer.Argument(help="ONNX files, tuned live.", exists=True)] = None,
    target: Annotated[str, typer.Option(help="A preset, for the files.")] = "ascend910",
    trials: Annotated[int, typer.Option(min=1, help="The budget that a stop saves from.")] = 1024,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each file, or of each task recorded.")] = 2,
    record: Annotated[
        bool, typer.Option("--record", help="Search the known tasks anew, and write what ships.")
    ] = False,
    quick: Quick = False,
    seed: Seed = 0,
    journal: RowsKept = None,
    json_file: JsonFile = None,
) -> int:
    """Is the regret that a search states true, on devices that it knows nothing of?"""
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
    """The draft of this CPU's kernels beside OSACA and llvm-mca, on the same machine code (a report)."""
    from benchmarks.host.ports import bench_ports

    return _report(lambda: bench_ports(quick=quick, seed=seed), json_file)


@app.command()
def metaschedule(
    kernel: Annotated[list[str] | None, typer.Option(help="Part of a kernel's name; repeatable.")] = None,
    budget: Annotated[float, typer.Option(min=1.0, help="Seconds of processor a kernel, for each.")] = 120.0,
    seed: Seed = 0,
    journal: RowsKept = None,
    json_file: JsonFile = None,
) -> int:
    """Our kernels on this CPU beside those of TVM's MetaSchedule, after equal processor time."""
    from benchmarks.host.metaschedule import bench_metaschedule

    return _report(
        lambda: bench_metaschedule(kernel or (), budget_s=budget, seed=seed, journal=journal), json_file
    )


@app.command()
def farm(
    campaign: Annotated[bool, typer.Option("--campaign", help="Hours: kills by the thousand.")] = False,
    quick: Quick = False,
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> int:
    """Dispatch, dying workers, sick workers, dying heads."""
    from benchmarks.farm.bench import bench_farm

    return _report(lambda: bench_farm(seed=seed, quick=quick, campaign=campaign), json_file)


@app.command()
def answers(
    folder: Models = None,
    light: Annotated[bool, typer.Option(help="Also the networks inside the onnx package.")] = True,
    budget: Annotated[list[int] | None, typer.Option(help="Trials of a run; repeatable.")] = None,
    objective: Annotated[list[str] | None, typer.Option(help="latency by default; repeatable.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="Presets; repeatable.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds a case.")] = 2,
    quick: Quick = False,
    seed: Seed = 0,
    journal: RowsKept = None,
    json_file: JsonFile = None,
) -> int:
    """Does every run end with a published, verified answer that is no slower than its default?"""
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
    trials: Annotated[int, typer.Option(min=1, help="Of the range.")] = 512,
    alone: Annotated[int, typer.Option(min=1, help="Trials of a size that is tuned alone.")] = 512,
    sizes: Annotated[int, typer.Option(min=1, help="Sizes that are tuned alone.")] = 24,
    looked_up: Annotated[int | None, typer.Option(help="Other sizes looked up; all by default.")] = None,
    quick: Quick = False,
    seed: Seed = 0,
    journal: RowsKept = None,
    json_file: JsonFile = None,
) -> int:
    """The answers of a tuned range of MODEL at sizes that were not tuned, beside each size tuned alone."""
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
