"""Pictures of a search: the knobs that mattered, its trials side by side, drafts beside measurements."""

from collections.abc import Mapping, Sequence
from typing import Any

from tilewright.api.pages.drawn.svg import (
    BLUE,
    BOTTOM,
    FAINT,
    GREEN,
    LEFT,
    MUTED,
    ORANGE,
    TOP,
    WIDTH,
    Drawing,
    across,
    up,
)
from tilewright.api.pages.drawn.svg import RIGHT as RIGHT_EDGE
from tilewright.api.pages.story import Tale
from tilewright.compiler_core.ir.names import shortened

ROW = 22
LABEL = 110
MOST_LETTERS = 60
LEAST = 0.01
"""The share below which a knob is not drawn."""
FAST = 0.1
"""The share of a kernel's trials, fastest first, that is drawn in colour."""


def importances(story: Tale) -> str:
    """For each kernel with many trials, the share of the spread of its times that each knob accounts for."""
    kernels = story.pictures["search"]["kernels"]
    first = max(kernels[0]["knobs"], key=lambda knob: knob["importance"])
    drawn = [_by_importance(kernel["knobs"]) for kernel in kernels]
    rows = sum(len(knobs) + 1 for knobs in drawn)
    drawing = Drawing(
        "Which knobs mattered",
        f"The share of the spread of measured times that a knob accounts for alone, among the trials of this "
        f"search. Of {kernels[0]['name']} most is {first['name']}'s: {first['importance']:.0%}.",
        TOP + BOTTOM + ROW * rows + 8,
    )
    x = across(0.0, 1.0, start=LEFT + LABEL)
    drawing.axes(x, None, "share of the spread of times, each knob alone", "")
    y = float(TOP + 8)
    for kernel, knobs in zip(kernels, drawn, strict=True):
        drawing.text(4, y + 14, shortened(f"{kernel['name']}, {kernel['measured']} trials", MOST_LETTERS))
        y += ROW
        for knob in knobs:
            says = f"{knob['name']}: {knob['importance']:.1%}"
            drawing.text(LEFT + LABEL - 8, y + 14, knob["name"], "end", MUTED)
            drawing.box(x(0), y + 3, x(knob["importance"]) - x(0), ROW - 8, BLUE, says)
            y += ROW
    return str(drawing)


def parallel(story: Tale) -> str:
    """The trials of the kernel with the most of them, a line each, over its knobs and the time."""
    kernel = story.pictures["search"]["kernels"][0]
    knobs, trials = kernel["knobs"], kernel["trials"]
    best = trials[0]
    says = ", ".join(f"{knob['name']} {knob['values'][at]}" for knob, at in zip(knobs, best, strict=False))
    drawing = Drawing(
        "Trials side by side",
        f"{len(trials)} trials of {kernel['name']}, each a line from knob to knob and to its time. "
        f"The fastest takes {best[-1]:.5g} us: {says}.",
        400,
    )
    places = [LEFT + (WIDTH - RIGHT_EDGE - LEFT - 40) * at / len(knobs) for at in range(len(knobs) + 1)]
    ends = [up(0, max(len(knob["values"]) - 1, 1), drawing.floor) for knob in knobs]
    slowest = max(trial[-1] for trial in trials)
    time = up(best[-1], slowest, drawing.floor, logarithmic=slowest > 20 * best[-1])
    scales = [*ends, time]
    fast = max(1, round(FAST * len(trials)))
    for at in reversed(range(len(trials))):  # the fastest are drawn last, on top
        points = [(x, scale(value)) for x, scale, value in zip(places, scales, trials[at], strict=True)]
        drawing.line(points, ORANGE if at == 0 else BLUE if at < fast else FAINT, width=2.5 if at == 0 else 1)
    for number, (x, knob) in enumerate(zip(places, knobs, strict=False)):
        drawing.line([(x, TOP + 8), (x, drawing.floor)], MUTED, width=1)
        drawing.text(x, drawing.floor + (16 if number % 2 == 0 else 30), knob["name"], "middle", MUTED)
        for value in sorted({trials[0][number], 0, len(knob["values"]) - 1}):
            drawing.text(x + 4, ends[number](value) + 4, knob["values"][value])
    drawing.line([(places[-1], TOP + 8), (places[-1], drawing.floor)], MUTED, width=1)
    drawing.text(places[-1], drawing.floor + 16, "us", "middle", MUTED)
    for value in (best[-1], slowest):
        drawing.text(places[-1] + 4, time(value) + 4, f"{value:.4g}")
    drawing.legend([(ORANGE, "fastest"), (BLUE, "next tenth"), (FAINT, "others")])
    return str(drawing)


def predicted(story: Tale) -> str:
    """Every trial of the answer's kernels: the draft's time before, the measured one after."""
    pairs: list[list[float]] = story.pictures["search"]["predicted"]
    low, high = (pick(number for pair in pairs for number in pair) for pick in (min, max))
    within = sum(0.8 <= measured / draft <= 1.25 for draft, measured in pairs)
    drawing = Drawing(
        "Drafted and measured",
        f"{len(pairs)} trials; {within / len(pairs):.0%} were measured within 25 % of their draft, "
        "which needs no measurement.",
    )
    wide = high > 10 * low
    x, y = (axis(low * 0.8, high * 1.25, logarithmic=wide) for axis in (across, up))
    drawing.axes(x, y, "us, drafted", "us, measured")
    drawing.line([(x(x.low), y(x.low)), (x(x.high), y(x.high))], GREEN)
    for factor in (0.8, 1.25):
        drawing.line([(x(x.low), y(x.low * factor)), (x(x.high), y(x.high * factor))], GREEN, "3 4", 1)
    for draft, measured in pairs:
        drawing.dot(x(draft), y(measured), 3, BLUE)
    drawing.legend([(BLUE, "a trial"), (GREEN, "as drafted, and 25 % off")])
    return str(drawing)


def _by_importance(knobs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The knobs that explain anything, the first one first."""
    ordered = sorted(knobs, key=lambda knob: -float(knob["importance"]))
    return [knob for knob in ordered if knob["importance"] >= LEAST] or ordered[:1]
