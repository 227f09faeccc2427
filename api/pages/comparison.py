"""Two runs, databases or targets as one HTML file: what differs, and by how much."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from markupsafe import Markup

from tilewright.api.pages.drawn.svg import BOTTOM, FAINT, GREEN, INK, LEFT, ORANGE, RIGHT, TOP, WIDTH, Drawing
from tilewright.api.pages.render import HERE, filled
from tilewright.compiler_core.ir.names import shortened

MOST_BARS = 24
MOST_LINES = 2_000
ROW = 30
SAME = 0.005


@dataclass(frozen=True)
class Line:
    """One thing in both or in one: its numbers or words as shown, second over first, and more of it."""

    name: str
    first: str
    second: str
    ratio: float | None = None
    more: str = ""


@dataclass(frozen=True)
class Compared:
    """The rows of a comparison. `lower`: whether a smaller number is better; None: neither is."""

    kind: str
    names: tuple[str, str]
    facts: Mapping[str, tuple[str, str]]
    lines: Sequence[Line]
    unit: str = ""
    lower: bool | None = True

    @property
    def telling(self) -> list[Line]:
        """Lines with a ratio that says something, the furthest apart first."""
        apart = [line for line in self.lines if line.ratio and abs(log(line.ratio)) > SAME]
        return sorted(apart, key=lambda line: -abs(log(line.ratio or 1.0)))

    @property
    def summary(self) -> str:
        """One sentence: how many differ, and which way."""
        ratios = [line.ratio for line in self.telling if line.ratio]
        if self.lower is None or not ratios:
            return f"{len(self.lines)} lines, {len(ratios)} of them with other numbers."
        better = sum(ratio < 1 for ratio in ratios)
        return (
            f"Of {len(self.lines)} lines B is better in {better}, A in {len(ratios) - better}; "
            "the rest are the same, or in one alone."
        )


def comparison_html(compared: Compared) -> str:
    """The page: facts, a picture of the ratios, every line."""
    style = (HERE / "static" / "style.css").read_text(encoding="utf-8")
    drawing = Markup(ratios(compared)) if compared.telling else ""
    shown = list(compared.lines[:MOST_LINES])
    return filled("comparison.html", compared=compared, shown=shown, style=Markup(style), drawing=drawing)


def ratios(compared: Compared) -> str:
    """A bar for each of the lines that are furthest apart, from 1 to the ratio, on a logarithmic scale."""
    lines = compared.telling[:MOST_BARS]
    most = max(abs(log(line.ratio or 1.0)) for line in lines)
    first = lines[0]
    drawing = Drawing(
        "B over A",
        f"The {len(lines)} lines that are furthest apart; {first.name} most, {first.ratio:.3g} times.",
        TOP + BOTTOM + ROW * len(lines),
    )
    middle, half = (LEFT + WIDTH - RIGHT) / 2, (WIDTH - RIGHT - LEFT) / 2
    for share in (-1.0, -0.5, 0.0, 0.5, 1.0):
        x = middle + share * half
        drawing.line([(x, TOP), (x, drawing.floor)], INK if share == 0.0 else FAINT, width=1)
        drawing.text(x, drawing.floor + 16, f"{2.718281828 ** (share * most):.3g}", "middle")
    drawing.text(middle, drawing.height - 6, "B over A", "middle")
    for place, line in enumerate(lines):
        y, reach = TOP + ROW * place, log(line.ratio or 1.0) / most * half
        good = (reach < 0) == compared.lower if compared.lower is not None else None
        color = ORANGE if good is False else GREEN
        says = f"{line.name}: {line.first} and {line.second}, {line.ratio:.3g} times"
        drawing.box(min(middle, middle + reach), y + 15, abs(reach), 11, color, says)
        drawing.text(LEFT, y + 11, shortened(line.name, 80))
    return str(drawing)


def number(value: Any) -> str:
    """A number or a word as shown; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
