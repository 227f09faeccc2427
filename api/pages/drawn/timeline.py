"""The timeline of a Program: its stages by name, and below each how busy the engines of the cores are."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tilewright.api.pages.drawn.svg import BLUE, FAINT, GREEN, INK, MUTED, ORANGE, Drawing, across, up
from tilewright.api.pages.story import Tale
from tilewright.compiler_core.ir.names import shortened

WIDTH = 1200
LEFT = 76
NAMES, TOP = 172, 24
"""Height of the row of names, which stand upright, and where it begins."""
LANE, GAP = 46, 14
NARROW, WIDE, LETTER = 12.0, 150.0, 6.6
"""The least width of a stage with its name inside, of one with its name lying, and of a letter, in pixels."""
HEAT = 6
COLOURS = {"load": BLUE, "matrix": ORANGE, "vector": GREEN, "store": MUTED, "cores": BLUE}


def timeline(story: Tale) -> str:
    """Stages in order of time, with a lane per engine; its height is the busy share, over all cores."""
    stages, end_us = story.pictures["stages"], story.pictures["latency_us"]
    cores = story.pictures["target"]["cores"]
    lanes = list(stages[0].get("busy", ())) if stages else []
    shares = _shares(stages, cores, lanes)
    lanes = lanes or ["cores"]
    floor = TOP + NAMES + len(lanes) * (LANE + GAP)
    whole_us = end_us or 1.0  # where nothing runs, nothing is busy
    busiest = "".join(f", {lane} {sum(map(_worked, stages, shares[lane])) / whole_us:.0%}" for lane in lanes)
    drawing = Drawing(
        "Timeline",
        f"{len(stages)} stage{'' if len(stages) == 1 else 's'} over {end_us:.6g} microseconds on {cores} "
        f"core{'' if cores == 1 else 's'}. Busy, of all cores and all the time{busiest}.",
        floor + 40,
        width=WIDTH,
    )
    x = across(0, end_us, start=LEFT, width=WIDTH)
    drawing.axes(x, None, "us", "stage")
    longest = max((took_us(stage) for stage in stages), default=1.0) or 1.0
    for number, stage in enumerate(stages):
        left, right = x(stage["start_us"]), x(stage["end_us"])
        heat = min(HEAT - 1, int(took_us(stage) / longest * HEAT))
        drawing.marks.append(_named(number, stage, left, right - left, heat))
    for row, lane in enumerate(lanes):
        y = up(0, 1, TOP + NAMES + GAP + row * (LANE + GAP) + LANE, height=LANE)
        drawing.text(LEFT - 8, y(0) - LANE / 2 + 4, lane, "end", INK)
        drawing.line([(LEFT, y(0)), (WIDTH - 16, y(0))], FAINT, width=1)
        for number, (stage, share) in enumerate(zip(stages, shares[lane], strict=True)):
            left, right = x(stage["start_us"]), x(stage["end_us"])
            says = f"{number}: {stage['name']}, {lane} {share:.0%} busy"
            if share > 0:
                drawing.box(left, y(share), right - left, y(0) - y(share), COLOURS[lane], says)
    return str(drawing)


def _shares(
    stages: Sequence[Mapping[str, Any]], cores: int, lanes: Sequence[str]
) -> Mapping[str, Sequence[float]]:
    """The busy share of each lane in each stage, from 0 to 1; cores in use without engines."""
    if not lanes:
        return {"cores": [min(1.0, (stage["cores"] or cores) / cores) for stage in stages]}
    return {
        lane: [min(1.0, stage["busy"][lane] / (cores * took_us(stage) or 1.0)) for stage in stages]
        for lane in lanes
    }


def _named(number: int, stage: Mapping[str, Any], x: float, width: float, heat: int) -> str:
    """A stage with its name in it, where there is room: upright in a narrow one."""
    says = escape(f"{number}: {stage['name']}, {took_us(stage):.4g} us")
    fill = f'class="heat{heat}" fill="var(--heat{heat}, #cfe1f5)" stroke="var(--muted, #5a6570)"'
    words = ""
    if width >= NARROW:
        upright = width < WIDE
        room = (NAMES if upright else width) - 12
        name = shortened(stage["name"], int(room / LETTER))
        place = f"translate({x + 6:.1f} {TOP + NAMES / 2:.0f})"
        if upright:
            place = f"translate({x + width / 2 + 4:.1f} {TOP + NAMES - 6}) rotate(-90)"
        ink = f'font-size="11" fill="var(--on-heat{heat}, #111)"'
        words = f'<text transform="{place}" {ink}>{escape(name)}</text>'
    return (
        f'<g class="labelled"><title>{says}</title><rect x="{x:.1f}" y="{TOP}" width="{max(width, 0.5):.1f}" '
        f'height="{NAMES}" {fill} stroke-width="0.7"/>{words}</g>'
    )


def _worked(stage: Mapping[str, Any], share: float) -> float:
    return took_us(stage) * share


def took_us(stage: Mapping[str, Any]) -> float:
    """The time of a stage, from its start to its end."""
    return float(stage["end_us"] - stage["start_us"])
