"""Curves of the search bench as SVG: the regret that nine runs in ten are below, over trials."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.figures import Row, regret_at, with_best_known
from benchmarks.search.methods import DRAFT, OWN, PEERS

FLOOR = 1e-3
"""Smallest regret drawn: the axis is logarithmic."""
SHARE = 0.9


def draw_curves(rows: Sequence[Row], folder: Path) -> list[Path]:
    """One picture per kind of chip and recorded table: peers as they come, and those with our draft."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    rows, pictures = with_best_known(rows), []
    for kind in sorted({row["task"].rsplit("/", 1)[-1] for row in rows}):
        part = [row for row in rows if row["task"].rsplit("/", 1)[-1] == kind]
        ran = {row["method"] for row in part}
        forms = {"as they come": [*PEERS], "with our draft": [peer + DRAFT for peer in PEERS]}
        panels = {title: [name for name in names if name in ran] for title, names in forms.items()}
        panels = {title: names for title, names in panels.items() if names} or {"alone": []}
        figure = Figure(figsize=(4.75 * len(panels), 4.5), layout="constrained")
        for index, (title, names) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(1, len(panels), index)
            _draw(axes, part, [name for name in (OWN, *names) if name in ran])
            axes.set(xscale="log", yscale="log", xlabel="trials", title=f"{kind}, peers {title}")
            axes.set(ylabel="regret, 9 runs in 10 below")
            axes.axhline(0.05, color="grey", lw=0.6, ls=":")
            axes.legend(fontsize="x-small")
        path = folder / f"search_{kind}.svg"
        FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call]  # matplotlib has no types here
            str(path), metadata={"Date": None}
        )
        pictures.append(path)
    return pictures


def _draw(axes: Any, rows: Sequence[Row], names: Sequence[str]) -> None:
    for name in names:
        chosen = [row for row in rows if row["method"] == name]
        trials = np.unique(np.geomspace(1, chosen[0]["budget"], 60).astype(int))
        regrets = np.array([[regret_at(row, int(trial)) for trial in trials] for row in chosen])
        curve = np.quantile(regrets, SHARE, axis=0, method="inverted_cdf")
        axes.plot(trials, np.maximum(curve, FLOOR), label=name, lw=3 if name == OWN else 1.2)
