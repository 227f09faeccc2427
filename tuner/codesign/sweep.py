"""`tune sweep`: tune networks on every variant of a target, and find the Pareto front of the variants.

All variants share one database. The records of one variant are a prior for the next, so that later variants
need fewer trials. An interrupted sweep continues where its records end.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np

from tilewright.compiler_core.errors import ModelError, UsageError
from tilewright.compiler_core.onnx_import.sizes import import_bound
from tilewright.tuner.answer.report import Report
from tilewright.tuner.codesign.area import area_mm2
from tilewright.tuner.codesign.variants import Variant, variants_of
from tilewright.tuner.kernel.front import front_of
from tilewright.tuner.network.events import Listener, Phase, silent
from tilewright.tuner.request import Hooks, PoolChoice, TuneRequest
from tilewright.tuner.run import run

HERE = PoolChoice(ray="none")
"""Measures in this process."""


@dataclass(frozen=True)
class TunedVariant:
    """One network on one variant."""

    model: str
    default_us: float
    tuned_us: float
    bound_us: float
    energy_uj: float | None
    trials: int
    stop_reason: str


@dataclass(frozen=True)
class Row:
    """One variant: geometric means over the networks, the area proxy, and whether another variant is no worse
    in all three and better in one (`beaten`).
    """

    label: str
    changes: Mapping[str, str]
    target_digest: str
    latency_us: float
    energy_uj: float | None
    area_mm2: float
    beaten: bool
    networks: tuple[TunedVariant, ...]


@dataclass(frozen=True)
class Sweep:
    """The rows in the order in which the variants were asked for."""

    base: str
    models: tuple[str, ...]
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields as one JSON object."""
        return asdict(self)


def sweep(
    models: Sequence[str | Path],
    target: str,
    vary: Sequence[str],
    *,
    trials: int = 128,
    dims: Mapping[str, int] | None = None,
    seed: int = 0,
    database: str | Path = "tilewright.db",
    pool: PoolChoice = HERE,
    listener: Listener = silent,
) -> Sweep:
    """Tune each of `models` on each variant of `target` with `trials` measurements.

    UsageError without models or variants; errors of variants_of and of run.
    """
    if not models:
        raise UsageError("tune sweep needs at least one ONNX file")
    variants = variants_of(target, vary)
    for model in models:
        _require_importable(Path(model), dims or {})

    def tuned(variant: Variant, file: Path) -> tuple[TunedVariant, ...]:
        found = []
        for model in models:
            request = TuneRequest(
                Path(model), str(file), 2, trials, dims=dims or {}, seed=seed, pool=pool, database=database
            )
            found.append(_tuned(run(request, Hooks(listener))))
        return tuple(found)

    with tempfile.TemporaryDirectory(prefix="tilewright-sweep-") as folder:
        results = []
        for number, variant in enumerate(variants):
            listener(Phase("variant", f"{number + 1} of {len(variants)}: {variant.label}"))
            file = Path(folder) / f"{variant.target.name}.toml"
            file.write_text(variant.text, encoding="utf-8")
            results.append(tuned(variant, file))
    return Sweep(target, tuple(Path(model).stem for model in models), _rows(variants, results))


def _require_importable(model: Path, dims: Mapping[str, int]) -> None:
    """ModelError or UsageError, naming the model, where it cannot have these sizes: before any is tuned."""
    try:
        import_bound(model, dims)
    except ModelError as error:
        raise ModelError(f"{model.name}: {error}") from error


def _tuned(report: Report) -> TunedVariant:
    return TunedVariant(
        report.model,
        report.default.latency_us,
        report.tuned.latency_us,
        report.bound.latency_us,
        report.tuned.energy_uj,
        report.trials,
        report.stop_reason,
    )


def _rows(variants: Sequence[Variant], results: Sequence[tuple[TunedVariant, ...]]) -> tuple[Row, ...]:
    latencies = [_mean(networks, lambda each: each.tuned_us) for networks in results]
    energies = [_mean(networks, lambda each: each.energy_uj) for networks in results]
    areas = [area_mm2(variant.target) for variant in variants]
    numbers = [
        (latency or 0.0, energy or 0.0, area)
        for latency, energy, area in zip(latencies, energies, areas, strict=True)
    ]
    best = set(front_of(np.array(numbers)))
    return tuple(
        Row(
            variant.label,
            dict(variant.changes),
            variant.target.digest,
            latencies[index] or 0.0,
            energies[index],
            areas[index],
            index not in best and numbers[index] not in [numbers[other] for other in best],
            results[index],
        )
        for index, variant in enumerate(variants)
    )


def _mean(networks: Sequence[TunedVariant], number: Callable[[TunedVariant], float | None]) -> float | None:
    """The geometric mean; None where a network has no such number."""
    values = [number(each) for each in networks]
    if any(not value for value in values):
        return None
    return exp(sum(log(value) for value in values if value) / len(values))
