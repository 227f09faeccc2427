"""Pictures of the hardware bench as SVG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Row = Mapping[str, Any]


def draw_fusion(rows: Sequence[Row], path: Path) -> None:
    """What fusion divides each network's latency by, on every chip that has not just another core size."""
    chips = [chip for chip in dict.fromkeys(row["chip"] for row in rows) if not chip[0].isdigit()]
    names = list(dict.fromkeys(row["network"] for row in rows))
    at = {(row["network"], row["chip"]): row for row in rows}
    figure, axes = _figure(9.0, 0.26 * len(names) + 1.4)
    height = 0.8 / len(chips)
    for number, chip in enumerate(chips):
        gains = [at[name, chip]["unfused_us"] / at[name, chip]["fused_us"] for name in names]
        axes.barh(np.arange(len(names)) + number * height, gains, height, label=chip)
    axes.set_yticks(np.arange(len(names)) + height * (len(chips) - 1) / 2, names, fontsize="x-small")
    axes.invert_yaxis()
    axes.axvline(1.0, color="grey", lw=0.6)
    axes.set(xlabel="latency with a kernel an op over latency fused", title="What fusion is worth")
    axes.legend(fontsize="small")
    _write(figure, path)


def draw_cores(rows: Sequence[Row], base: str, path: Path) -> None:
    """Latency over that on `base` against the number of cores of equal peak: each network and the mean."""
    ours = [row for row in rows if row["chip"] == base or row["chip"][0].isdigit()]
    counts = sorted({row["cores"] for row in ours}, reverse=True)
    reference = next(row["cores"] for row in ours if row["chip"] == base)
    names = list(dict.fromkeys(row["network"] for row in ours))
    places = range(len(counts))
    figure, axes = _figure(7.5, 5.0)
    for kind, colour, label in (
        ("epilogues_us", "tab:orange", "elementwise epilogues fused"),
        ("fused_us", "tab:blue", "groups by price"),
    ):
        at = {(row["network"], row["cores"]): row[kind] for row in ours}
        ratios = np.array([[at[name, cores] / at[name, reference] for cores in counts] for name in names])
        for ratio in ratios:
            axes.plot(places, ratio, color=colour, lw=0.6, alpha=0.4)
        axes.plot(places, np.exp(np.log(ratios).mean(axis=0)), color=colour, lw=3, label=label)
    axes.axhline(1.0, color="grey", lw=0.6, ls=":")
    axes.set_xticks(places, [f"{count} cores" for count in counts])
    axes.set(yscale="log", ylabel=f"latency over {base}", title="Many small cubes or few big, equal peak")
    axes.legend(title="geometric mean", fontsize="small")
    _write(figure, path)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _write(figure: Any, path: Path) -> None:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    # A salt and no date: equal rows make equal files.
    with rc_context({"svg.hashsalt": path.stem}):
        FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call]  # matplotlib has no types here
            str(path), metadata={"Date": None}
        )
