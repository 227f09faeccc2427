"""SVG written out by hand: axes, marks and a description for those who cannot see them.

Only presentation attributes and classes; a policy that forbids inline styles shows the same picture.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

from tilewright.compiler_core.ir.names import shortened

WIDTH, HEIGHT = 600, 320
LEFT, RIGHT, TOP, BOTTOM = 60, 16, 24, 44
INK, MUTED = "var(--ink, #1c2126)", "var(--muted, #4a5560)"
FAINT, PAPER = "var(--faint, #d5dae0)", "var(--paper, #fff)"
BLUE, ORANGE, GREEN = "var(--blue, #1565a5)", "var(--orange, #b35400)", "var(--green, #2c7a3f)"
"""Tokens of style.css; the colours behind them are for a picture that stands alone."""
LETTER, LEAST_NAMED, LEAST_LETTERS = 6.2, 12, 5
"""Pixels of a letter, the least height of a box with a name inside, the fewest letters that say something."""


@dataclass(frozen=True)
class Scale:
    """From values to pixels along one axis, linear or logarithmic, with ticks at round values."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Pixels; values beyond the ends are drawn at the ends."""
        value = min(max(value, self.low), self.high)
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round values between the ends."""
        if self.logarithmic:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            if last - first < 2:
                fine = [10.0**power * step for power in range(first - 1, last + 1) for step in (1, 2, 5)]
                return [value for value in fine if self.low <= value <= self.high]
            every = max(1, (last - first) // 6)
            return [10.0**power for power in range(first, last + 1, every)]
        rough = (self.high - self.low) / 6
        decade = 10.0 ** math.floor(math.log10(rough))
        step = next(decade * factor for factor in (1, 2, 5, 10) if decade * factor >= rough)
        return [step * index for index in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    x: float
    y: float
    width: float
    height: float


@dataclass
class Drawing:
    """A picture under construction; `title` and `description` are for screen readers."""

    title: str
    description: str
    height: int = HEIGHT
    width: int = WIDTH
    marks: list[str] = field(default_factory=list)

    @property
    def floor(self) -> float:
        """Pixels of the lower edge of the plot."""
        return self.height - BOTTOM

    def axes(self, across: Scale, up: Scale | None, across_label: str, up_label: str) -> None:
        """Grid lines, numbers and labels; `up` is None where rows are not numbers."""
        for value in across.ticks:
            pixel = across(value)
            self.marks.append(_line(pixel, TOP + 4, pixel, self.floor, FAINT))
            self.text(pixel, self.floor + 16, _short(value), "middle", MUTED)
        for pixel, value in [(up(value), value) for value in up.ticks] if up is not None else []:
            self.marks.append(_line(LEFT, pixel, self.width - RIGHT, pixel, FAINT))
            self.text(LEFT - 6, pixel + 4, _short(value), "end", MUTED)
        self.text((LEFT + self.width) / 2, self.height - 6, across_label, "middle", MUTED)
        self.text(4, 13, up_label, "start", MUTED)

    def line(
        self, points: Sequence[tuple[float, float]], color: str, dashes: str = "", width: float = 2
    ) -> None:
        """A line through points in pixels."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self.marks.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}"{dashed}/>'
        )

    def box(self, x: float, y: float, width: float, height: float, color: str, says: str = "") -> None:
        """A filled rectangle; `says` shows on hovering."""
        title = f"<title>{escape(says)}</title>" if says else ""
        self.marks.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{max(height, 0.5):.1f}" '
            f'fill="{color}" fill-opacity="0.75" stroke="{PAPER}" stroke-width="0.5">{title}</rect>'
        )

    def named_box(self, box: "Box", heat: int, name: str, says: str) -> None:
        """A rectangle of a shade of heat, 0 to 5, with its name inside where there is room for it."""
        words, letters = "", int((box.width - 8) / LETTER)
        if box.height >= LEAST_NAMED and letters >= min(len(name), LEAST_LETTERS):
            y = box.y + box.height / 2 + 4
            words = (
                f'<text x="{box.x + 4:.1f}" y="{y:.1f}" fill="var(--on-heat{heat}, #111)" font-size="11">'
                f"{escape(shortened(name, letters))}</text>"
            )
        self.marks.append(
            f'<g class="labelled"><title>{escape(says)}</title><rect x="{box.x:.1f}" y="{box.y:.1f}" '
            f'width="{max(box.width, 0.5):.1f}" height="{max(box.height, 0.5):.1f}" class="heat{heat}" '
            f'fill="var(--heat{heat}, #cfe1f5)" stroke="{MUTED}" stroke-width="0.7"/>{words}</g>'
        )

    def dot(self, x: float, y: float, radius: float, color: str, says: str = "") -> None:
        """A disc; `says` shows on hovering."""
        title = f"<title>{escape(says)}</title>" if says else ""
        self.marks.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{color}" fill-opacity="0.75">'
            f"{title}</circle>"
        )

    def text(self, x: float, y: float, words: str, anchor: str = "start", color: str = INK) -> None:
        """Words at a place, with a rim of the paper's colour where they cross marks."""
        self.marks.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}" stroke="{PAPER}" '
            f'stroke-width="3" paint-order="stroke">{escape(words)}</text>'
        )

    def legend(self, entries: Iterable[tuple[str, str]]) -> None:
        """The legend, above the plot."""
        x = float(self.width - RIGHT)
        for color, words in entries:
            x -= 7 * len(words) + 30
            self.marks.append(f'<rect x="{x:.1f}" y="4" width="12" height="10" rx="2" fill="{color}"/>')
            self.text(x + 17, 13, words)

    def __str__(self) -> str:
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'font-family="system-ui, sans-serif" font-size="12" class="drawing">'
            f"<title>{escape(self.title)}</title><desc>{escape(self.description)}</desc>"
            f'<rect width="{self.width}" height="{self.height}" fill="{PAPER}"/>{"".join(self.marks)}</svg>'
        )


def _line(x1: float, y1: float, x2: float, y2: float, color: str) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" stroke-width="1"/>'
    )


def _short(value: float) -> str:
    size = abs(value)
    units: tuple[tuple[float, str], ...] = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k"))
    for unit, letter in units:
        if size >= unit:
            return f"{value / (1e3 if letter == 'k' else unit):g}{letter}"
    return f"{value:g}"


def across(
    low: float, high: float, logarithmic: bool = False, start: float = LEFT, width: int = WIDTH
) -> Scale:
    """The horizontal scale of a drawing, from pixel `start` on."""
    return _scale(low, high, start, width - RIGHT, logarithmic)


def up(
    low: float,
    high: float,
    floor: float = HEIGHT - BOTTOM,
    logarithmic: bool = False,
    height: float | None = None,
) -> Scale:
    """The vertical scale of a drawing from pixel `floor` up, to its upper edge or by `height`."""
    return _scale(low, high, floor, TOP + 8 if height is None else floor - height, logarithmic)


def _scale(low: float, high: float, start: float, end: float, logarithmic: bool) -> Scale:
    if logarithmic:
        low = max(low, 1e-9)
        return Scale(low, max(high, low * 10), start, end, True)
    return Scale(low, high if high > low else low + 1.0, start, end)
