"""`tune targets`: the presets, one target as plain numbers, its peaks, the mistakes in a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tilewright.api.cli.options import JsonFile, answer, files_of
from tilewright.api.cli.verbs import verb_app

if TYPE_CHECKING:
    from tilewright.compiler_core.target_model.target import Target
    from tilewright.measure.device import Device

app = verb_app()
Name = Annotated[str, typer.Argument(help="A preset, or the path of a TOML file.")]


@app.callback()
def targets() -> None:
    """Describe accelerators: presets, and files of your own."""


@app.command("list")
def list_presets(json_file: JsonFile = None) -> None:
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
    head = f"{'target':<14} {'cores':>5} {'TMAC/s':>8} {'L1 KiB':>7} {'LLB KiB':>8} {'DRAM GB/s':>9}"
    lines = [
        f"{row['name']:<14} {row['cores']:>5} {row['peak_tmacs']:>8.3g} {row['l1_kib']:>7} "
        f"{row['llb_kib']:>8} {row['dram_gbps']:>9g}  {row['description']}"
        for row in rows
    ]
    answer("\n".join([head, *lines]), {"targets": rows}, json_file)


@app.command()
def show(
    target: Name,
    numbers: Annotated[
        bool,
        typer.Option(
            "--numbers", help="Print every number as a table, and mark those that nobody published."
        ),
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Print the file of a target, to be edited: TOML, with the source of every number."""
    from tilewright.compiler_core.target_model.file import load_target, target_text
    from tilewright.compiler_core.target_model.target import numbers_of

    loaded = load_target(target)
    listed = {key: value for key, value in numbers_of(loaded) if not key.startswith("assumed.")}
    lines = [f"{'digest':<32} {loaded.digest}"]
    lines += [
        f"{key:<32} {value!s:<24} {'assumed' if loaded.is_assumed(key) else ''}".rstrip()
        for key, value in listed.items()
    ]
    shown = {"digest": loaded.digest, "assumed": list(loaded.assumed), "numbers": listed}
    text = "\n".join(lines) if numbers else target_text(target).rstrip("\n")
    answer(text, shown, json_file, files_of(target))


@app.command()
def check(file: Annotated[Path, typer.Argument(help="A TOML file.")], json_file: JsonFile = None) -> int:
    """Explain every mistake in a target file by key and line, and warn of unlikely numbers.

    Exit code 1 when there is a mistake; warnings alone are exit code 0.
    """
    from dataclasses import asdict

    from tilewright.compiler_core.target_model.file import check_target_file, doubts_of, target_text

    target, mistakes = check_target_file(file)
    doubts = () if target is None else doubts_of(target_text(str(file)))
    lines = [f"{file}: {mistake}" for mistake in mistakes]
    lines += [f"{file}: {doubt} (warning)" for doubt in doubts]
    if target is not None:
        lines.append(f"{file}: {target.name} is a valid target, digest {target.digest}")
    shown = {
        "mistakes": [asdict(mistake) for mistake in mistakes],
        "doubts": [asdict(doubt) for doubt in doubts],
        "digest": None if target is None else target.digest,
    }
    answer("\n".join(lines), shown, json_file, files_of(file))
    return 1 if mistakes else 0


@app.command()
def detect(
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Also write the file here.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Measure this CPU, and keep the result as the target `host`."""
    import tomllib

    from tilewright.compiler_core.target_model.host import host_file
    from tilewright.measure.host.detect import host_text
    from tilewright.measure.host.file import write_host_file

    text = host_text()
    for path in (host_file(), *([output] if output else [])):
        write_host_file(text, path)
    said = text if output is None else f"{output}: measured, also kept as the target host"
    answer(said, tomllib.loads(text), json_file, files_of(output))


@app.command()
def peak(
    target: Name,
    json_file: JsonFile = None,
    soak: Annotated[
        float | None,
        typer.Option(help="Repeat for this many seconds; exit code 1 when a peak drifts by 5 %."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="A device of your own, as MODULE:FACTORY from the working directory.")
    ] = None,
) -> int:
    """Measure the peaks of a device with micro-kernels; by default those of the simulated one."""
    from tilewright.compiler_core.target_model.file import load_target
    from tilewright.measure.simulator.device import SimulatedDevice
    from tilewright.tuner.devices import load_device
    from tilewright.tuner.verbs.peak import measure_peaks

    loaded = load_target(target)
    chosen = SimulatedDevice(loaded) if device is None else load_device(device)
    if soak is not None:
        return _soak(loaded, chosen, soak, json_file)
    peaks = measure_peaks(loaded, chosen)
    found = {
        each.name: {
            "unit": each.unit,
            "measured": each.measured,
            "nominal": each.nominal,
            "ratio": each.ratio,
        }
        for each in peaks
    }
    lines = [f"{'peak':<10} {'measured':>12} {'file':>12} {'':<7} {'ratio':>7}"]
    lines += [
        f"{each.name:<10} {each.measured:>12.5g} {each.nominal:>12.5g} {each.unit:<7} {each.ratio:>7.4f}"
        for each in peaks
    ]
    shown = {"target": loaded.name, "digest": loaded.digest, "peaks": found}
    answer("\n".join(lines), shown, json_file, files_of(target))
    return 0


def _soak(target: "Target", device: "Device", seconds: float, json_file: str | None) -> int:
    from tilewright.tuner.verbs.soak import soak

    drifts = soak(target, device, seconds)
    rows = {d.name: {"first": d.first, "worst": d.worst, "last": d.last, "ok": d.steady} for d in drifts}
    lines = [f"{'peak':<10} {'first':>8} {'worst':>8} {'last':>8}   ratio to the file's number"]
    lines += [
        f"{each.name:<10} {each.first:>8.4f} {each.worst:>8.4f} {each.last:>8.4f}   "
        f"{'steady' if each.steady else 'DRIFTS'}"
        for each in drifts
    ]
    answer("\n".join(lines), {"target": target.name, "digest": target.digest, "drift": rows}, json_file)
    return 0 if all(each.steady for each in drifts) else 1
