"""The drawings of a job, each a function of its Tale."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tilewright.api.pages.drawn.graph import network_svg
from tilewright.api.pages.drawn.search_drawings import importances, parallel, predicted
from tilewright.api.pages.drawn.svg import BLUE, BOTTOM, GREEN, LEFT, TOP, WIDTH, Box, Drawing, across, up
from tilewright.api.pages.drawn.timeline import timeline, took_us
from tilewright.api.pages.story import Tale
from tilewright.compiler_core.ir.names import shortened

FIGURES = {"latency_us": "us", "energy_uj": "uJ", "peak_bytes": "bytes"}
MOST_ROWS = 24
MOST_NAMED, LETTERS = 6, 30
APART = (170, 15)
"""Stages of a roofline that are named, the letters of a name, and the pixels between two names."""
SHADES = (1, 2, 3)
ROW, BAR = 34, 13


def front(story: Tale) -> str:
    """The Programs that no other beats in all objectives, over the two that differ most among them."""
    assert story.result is not None, "drawable says so"
    points = story.result["front"]
    ranges = {key: _range(points, key) for key in FIGURES if points[0][key] is not None}
    across_key, up_key = sorted(ranges, key=lambda key: -ranges[key][1] / max(ranges[key][0], 1e-9))[:2]
    names = story.result["objective"].replace(",", " and ")
    drawing = Drawing("Front", f"{len(points)} programs of which none is beaten in {names} at once.")
    x, y = (
        axis(ranges[key][0] * 0.98, ranges[key][1] * 1.02)
        for axis, key in ((across, across_key), (up, up_key))
    )
    drawing.axes(x, y, FIGURES[across_key], FIGURES[up_key])
    for point in points:
        says = ", ".join(f"{point[key]:.6g} {FIGURES[key]}" for key in ranges)
        drawing.dot(x(point[across_key]), y(point[up_key]), 5, BLUE, f"{says}, {point['kernels']} kernels")
    return str(drawing)


def convergence(story: Tale) -> str:
    """From the default down to the answer over trials, the bound, and why the search stopped."""
    curve, last = story.curve, story.points[-1]
    (_, first), (trials, best) = curve[0], curve[-1]
    bound = f"; the bound is {last.bound:.6g}" if last.bound else ""
    ending = f" It stopped: {story.ending}." if story.ending else ""
    drawing = Drawing(
        "Convergence",
        f"From {first:.6g} {last.unit} to {best:.6g} {last.unit} after {trials} trials{bound}.{ending}",
    )
    bests = [number for _, number in curve]
    least = last.bound or min(bests)
    x = across(0, trials)
    y = up(min(least, *bests) * 0.9, max(bests) * 1.08, logarithmic=max(bests) > 4 * least)
    drawing.axes(x, y, "trials", last.unit)
    legend = [(BLUE, "best network so far")]
    if last.bound:
        drawing.line([(x(0), y(last.bound)), (x(trials), y(last.bound))], GREEN, "6 4")
        drawing.text(x(trials) - 4, y(last.bound) - 5, f"bound {last.bound:.5g}", "end")
        legend.append((GREEN, "bound"))
    steps = [(x(curve[0][0]), y(first))]
    for (_, before), (trial, number) in pairwise(curve):
        if number != before or trial == trials:
            steps += [(x(trial), y(before)), (x(trial), y(number))]
    drawing.line(steps, BLUE)
    drawing.dot(x(curve[0][0]), y(first), 4, BLUE, f"{first:.6g} {last.unit}")
    drawing.dot(x(trials), y(best), 4, BLUE, f"{best:.6g} {last.unit}")
    drawing.text(x(curve[0][0]) + 8, y(first) - 5, f"{first:.5g}")
    drawing.text(x(trials) - 4, y(best) - 8, f"{best:.5g}", "end")
    if story.ending:
        drawing.text(x(trials) - 4, TOP + 20, f"stopped: {story.ending}", "end")
    drawing.legend(legend)
    return str(drawing)


def kernels(story: Tale) -> str:
    """The kernels that take most of the time, each beside its bound."""
    assert story.result is not None, "drawable says so"
    rows = sorted(story.result["kernels"], key=lambda kernel: -_total(kernel))[:MOST_ROWS]
    slowest = rows[0]
    height = TOP + BOTTOM + ROW * len(rows)
    drawing = Drawing(
        "Kernels",
        f"The {len(rows)} kernels with the most time; the first, {kernel_name(slowest)}, "
        f"takes {_total(slowest):.6g} microseconds over {slowest['count']} calls.",
        height,
    )
    x = across(0, _total(slowest))
    drawing.axes(x, None, "us, all calls of a kernel", "")
    for number, kernel in enumerate(rows):
        y = TOP + ROW * number
        says = f"{kernel_name(kernel)}, {kernel['count']} calls, {_total(kernel):.6g} us"
        drawing.box(LEFT, y + 15, x(_total(kernel)) - LEFT, BAR, BLUE, says)
        drawing.box(LEFT, y + 15, x(kernel["bound_us"] * kernel["count"]) - LEFT, BAR, GREEN, says)
        drawing.text(LEFT, y + 11, kernel_name(kernel))
        drawing.text(LEFT - 6, y + 25, f"{kernel['count']} x", "end")
    drawing.legend([(BLUE, "measured"), (GREEN, "bound")])
    return str(drawing)


def roofline(story: Tale) -> str:
    """Work rate of every stage over its arithmetic intensity, below the two roofs of the target."""
    target, stages = story.pictures["target"], _working(story)
    peak, bandwidth = target["macs_per_us"], target["port_bytes_per_us"] or float("inf")
    dots = [
        (stage["macs"] / max(stage["port_bytes"], 1), stage["macs"] / took_us(stage), stage)
        for stage in stages
    ]
    drawing = Drawing(
        "Roofline",
        f"{len(dots)} stages of {target['name']} below a peak of {peak:.4g} multiply-accumulates per us.",
    )
    longest = max((took_us(stage) for _, _, stage in dots), default=1.0)
    ridge = peak / bandwidth if bandwidth != float("inf") else 1.0
    x = across(
        min([ridge / 10, *(intensity for intensity, _, _ in dots)]),
        max([ridge * 10, *(intensity for intensity, _, _ in dots)]),
        logarithmic=True,
    )
    y = up(min([peak / 100, *(rate / 2 for _, rate, _ in dots)]), peak * 2, logarithmic=True)
    drawing.axes(x, y, f"multiply-accumulates per byte of {target['port']}", "MAC/us")
    slope = [(x(x.low), y(min(peak, bandwidth * x.low))), (x(ridge), y(peak)), (x(x.high), y(peak))]
    drawing.line(slope, GREEN)
    for intensity, rate, stage in dots:
        says = f"{stage['name']}: {took_us(stage):.4g} us, {rate / peak:.1%} of the peak"
        radius = 3 + 6 * (took_us(stage) / longest) ** 0.5
        drawing.dot(x(intensity), y(rate), radius, BLUE, says)
    taken: list[tuple[float, float]] = []
    for intensity, rate, stage in sorted(dots, key=lambda dot: -took_us(dot[2])):
        at = x(intensity), y(rate)
        near = any(abs(at[0] - other[0]) < APART[0] and abs(at[1] - other[1]) < APART[1] for other in taken)
        if len(taken) < MOST_NAMED and not near:
            taken.append(at)
            right = at[0] < WIDTH * 0.6
            name = shortened(stage["name"], LETTERS)
            drawing.text(at[0] + (12 if right else -12), at[1] + 4, name, "start" if right else "end")
    drawing.legend([(BLUE, "a stage, larger the longer it takes"), (GREEN, "roof")])
    return str(drawing)


def memory(story: Tale) -> str:
    """Values in the LLB by offset, each from the stage that stores it to the last that reads it."""
    values, stages = story.pictures["values"], story.pictures["stages"]
    arena = story.pictures["arena_bytes"]
    drawing = Drawing("Memory map", f"{len(values)} values between kernels share {arena} bytes of the LLB.")
    x, y = across(0, len(stages)), up(0, arena)
    drawing.axes(x, y, "stage", "bytes")
    for number, value in enumerate(values):
        left, right = x(value["first"]), x(value["last"] + 1)
        top = y(value["offset"] + value["bytes"])
        says = (
            f"{value['name']}: {value['bytes']:,} bytes at {value['offset']:,}, "
            f"stages {value['first']} to {value['last']}"
        )
        box = Box(left, top, right - left, y(value["offset"]) - top)
        drawing.named_box(box, SHADES[number % len(SHADES)], value["name"], says)
    return str(drawing)


def kernel_name(kernel: Mapping[str, Any]) -> str:
    """A kernel's name; results from before names were kept have its ops alone."""
    return str(kernel.get("name") or " + ".join(kernel["ops"]))


DRAWINGS: Mapping[str, Callable[[Tale], str]] = {
    "network": lambda story: network_svg(story.pictures["graph"]),
    "front": front,
    "convergence": convergence,
    "kernels": kernels,
    "roofline": roofline,
    "timeline": timeline,
    "memory": memory,
    "knobs": importances,
    "trials": parallel,
    "drafts": predicted,
}
"""By name, in the order in which pages show them."""

CAPTIONS: Mapping[str, tuple[str, str]] = {
    "network": (
        "Network",
        "A box is a kernel, with its time in the whole program; the stronger its colour, the more. Click it.",
    ),
    "front": ("Front", "Programs of which none is beaten in all objectives at once."),
    "convergence": (
        "Convergence",
        "The best whole network after so many trials, down to what was published.",
    ),
    "kernels": (
        "Kernels",
        "Where the time goes: each kernel's calls together, beside what no tile size beats.",
    ),
    "roofline": ("Roofline", "Work per microsecond over work per byte; the roof is what the chip can do."),
    "timeline": (
        "Timeline",
        "Stages by time, stronger the longer; below, how busy each engine of the cores is meanwhile.",
    ),
    "memory": (
        "Memory map",
        "Values between kernels, from the stage that stores them to the last that reads.",
    ),
    "knobs": ("Which knobs mattered", "How much of the spread of a kernel's times each knob explains alone."),
    "trials": ("Trials side by side", "Each line is a Config that was measured; the orange one is fastest."),
    "drafts": ("Drafted and measured", "What a Config was thought to take beforehand, and what it took."),
}
"""Title and how to read it, by name."""
WIDE = frozenset({"network", "timeline"})
"""Drawings that get the whole width of a page."""


def _range(points: Sequence[Mapping[str, Any]], key: str) -> tuple[float, float]:
    values = [float(point[key]) for point in points]
    return min(values), max(values)


def _total(kernel: Mapping[str, Any]) -> float:
    return float(kernel["latency_us"] or 0.0) * int(kernel["count"])


def _working(story: Tale) -> list[Mapping[str, Any]]:
    return [stage for stage in story.pictures["stages"] if stage["macs"] and took_us(stage) > 0]
