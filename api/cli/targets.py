"""`tune targets`: the presets, one target as plain numbers, its peaks, the mistakes in a file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tilewright.api.cli.verbs import verb_app

if TYPE_CHECKING:
    from tilewright.compiler_core.target_model.target import Target
    from tilewright.measure.device import Device

app = verb_app()
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Name = Annotated[str, typer.Argument(help="A preset, or the path of a TOML file.")]


@app.callback()
def targets() -> None:
    """Describe accelerators: presets, and files of your own."""


@app.command("list")
def list_presets(as_json: AsJson = False) -> None:
    """Print the presets with their peaks and memories."""
    from tilewright.compiler_core.target_model.file import list_targets, load_target

    rows = []
    for name in list_targets():
        target = load_target(name)
        stored = target.dtypes[0][0]
        tera_macs = target.peak_macs_per_cycle(stored) * target.frequency_mhz / 1e6
        rows.append(
            {
                "name": name,
                "cores": target.cores,
                "dtype": stored,
                "peak_tmacs": tera_macs,
                "l1_kib": target.l1_kib,
                "llb_kib": target.llb.kib,
                "dram_gbps": target.dram.gbps,
                "digest": target.digest,
                "description": target.description,
            }
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    typer.echo(f"{'target':<14} {'cores':>5} {'TMAC/s':>8} {'L1 KiB':>7} {'LLB KiB':>8} {'DRAM GB/s':>9}")
    for row in rows:
        typer.echo(
            f"{row['name']:<14} {row['cores']:>5} {row['peak_tmacs']:>8.3g} {row['l1_kib']:>7} "
            f"{row['llb_kib']:>8} {row['dram_gbps']:>9g}  {row['description']}"
        )


@app.command()
def show(
    target: Name,
    as_json: AsJson = False,
    toml: Annotated[bool, typer.Option("--toml", help="The file itself, to be edited.")] = False,
) -> None:
    """Print every number of a target, and whether it was published or assumed; --toml prints its file."""
    from tilewright.compiler_core.target_model.file import load_target, target_text
    from tilewright.compiler_core.target_model.target import numbers_of

    if toml:
        typer.echo(target_text(target), nl=False)
        return
    loaded = load_target(target)
    numbers = {key: value for key, value in numbers_of(loaded) if not key.startswith("assumed.")}
    if as_json:
        shown = {"digest": loaded.digest, "assumed": list(loaded.assumed), "numbers": numbers}
        typer.echo(json.dumps(shown, indent=2))
        return
    typer.echo(f"{'digest':<32} {loaded.digest}")
    for key, value in numbers.items():
        typer.echo(f"{key:<32} {value!s:<24} {'assumed' if loaded.is_assumed(key) else ''}".rstrip())


@app.command()
def check(file: Annotated[Path, typer.Argument(help="A TOML file.")]) -> int:
    """Explain every mistake in a target file, by key and line. Exit code 1 when there is one."""
    from tilewright.compiler_core.target_model.file import check_target_file

    target, mistakes = check_target_file(file)
    for mistake in mistakes:
        typer.echo(f"{file}: {mistake}")
    if target is not None:
        typer.echo(f"{file}: {target.name} is a valid target, digest {target.digest}")
    return 1 if mistakes else 0


@app.command()
def detect(
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write here too.")] = None,
) -> None:
    """Measure this CPU, and keep what was found as the target `host`."""
    from tilewright.compiler_core.target_model.host import host_file
    from tilewright.measure.host.detect import host_text
    from tilewright.measure.host.file import write_host_file

    text = host_text()
    for path in (host_file(), *([output] if output else [])):
        write_host_file(text, path)
    typer.echo(text if output is None else f"{output}: measured, also kept as the target host")


@app.command()
def peak(
    target: Name,
    as_json: AsJson = False,
    soak: Annotated[
        float | None, typer.Option(help="Repeat for so many seconds and watch for drift; exit 1 on any.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="A device of your own, as MODULE:FACTORY from the working directory.")
    ] = None,
) -> int:
    """Measure peaks with micro-kernels on a device, the simulated one unless told otherwise."""
    from tilewright.compiler_core.target_model.file import load_target
    from tilewright.measure.simulator.device import SimulatedDevice
    from tilewright.tuner.devices import load_device
    from tilewright.tuner.verbs.peak import measure_peaks

    loaded = load_target(target)
    chosen = SimulatedDevice(loaded) if device is None else load_device(device)
    if soak is not None:
        return _soak(loaded, chosen, soak, as_json)
    peaks = measure_peaks(loaded, chosen)
    if as_json:
        found = {
            each.name: {
                "unit": each.unit,
                "measured": each.measured,
                "nominal": each.nominal,
                "ratio": each.ratio,
            }
            for each in peaks
        }
        typer.echo(json.dumps({"target": loaded.name, "digest": loaded.digest, "peaks": found}, indent=2))
        return 0
    typer.echo(f"{'peak':<10} {'measured':>12} {'file':>12} {'':<7} {'ratio':>7}")
    for each in peaks:
        typer.echo(
            f"{each.name:<10} {each.measured:>12.5g} {each.nominal:>12.5g} {each.unit:<7} {each.ratio:>7.4f}"
        )
    return 0


def _soak(target: "Target", device: "Device", seconds: float, as_json: bool) -> int:
    from tilewright.tuner.verbs.soak import soak

    drifts = soak(target, device, seconds)
    if as_json:
        rows = {d.name: {"first": d.first, "worst": d.worst, "last": d.last, "ok": d.steady} for d in drifts}
        typer.echo(json.dumps({"target": target.name, "digest": target.digest, "drift": rows}, indent=2))
    else:
        typer.echo(f"{'peak':<10} {'first':>8} {'worst':>8} {'last':>8}   ratio to the file's number")
        for each in drifts:
            verdict = "steady" if each.steady else "DRIFTS"
            typer.echo(f"{each.name:<10} {each.first:>8.4f} {each.worst:>8.4f} {each.last:>8.4f}   {verdict}")
    return 0 if all(each.steady for each in drifts) else 1
