"""Curves of the search bench as SVG: regret over trials, one line a method, median over tasks and seeds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.methods import OWN, PEERS
from benchmarks.search_figures import Row, regret_at, stronger_form, with_best_known

FLOOR = 1e-3
"""Smallest regret drawn: the axis is logarithmic."""


def draw_curves(rows: Sequence[Row], folder: Path) -> list[Path]:
    """One picture per kind of chip and recorded table; every peer in its stronger form."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    rows, pictures = with_best_known(rows), []
    for kind in sorted({row["task"].rsplit("/", 1)[-1] for row in rows}):
        part = [row for row in rows if row["task"].rsplit("/", 1)[-1] == kind]
        ran = {row["method"] for row in part}
        shown = [name for name in (OWN, *(stronger_form(part, peer) for peer in PEERS)) if name in ran]
        figure = Figure(figsize=(7.5, 4.5), layout="constrained")
        axes = figure.add_subplot()
        for name in shown:
            chosen = [row for row in part if row["method"] == name]
            trials = np.unique(np.geomspace(1, chosen[0]["budget"], 60).astype(int))
            regrets = np.array([[regret_at(row, int(at)) for at in trials] for row in chosen])
            axes.plot(
                trials,
                np.maximum(np.median(regrets, axis=0), FLOOR),
                label=name,
                lw=3 if name == OWN else 1.2,
            )
        axes.set(xscale="log", yscale="log", xlabel="trials", ylabel="median regret", title=f"{kind}")
        axes.axhline(0.05, color="grey", lw=0.6, ls=":")
        axes.legend(fontsize="x-small", ncols=2)
        path = folder / f"search_{kind}.svg"
        FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call]  # matplotlib has no types here
            str(path), metadata={"Date": None}
        )
        pictures.append(path)
    return pictures
