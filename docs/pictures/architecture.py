"""The drawing of the architecture in the README: the way from an ONNX file to a Program, with the packages.

    python docs/pictures/architecture.py        writes architecture.svg beside this file

The picture follows the reader's system into the dark; where no style is known it is light.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

WIDTH, HEIGHT = 960, 476
BOX_WIDTH, BOX_HEIGHT = 196, 104
COLUMNS = (24, 262, 500, 738)
ROWS = (24, 186)
DOORS_TOP, DOORS_HEIGHT = 384, 68
LINE_HEIGHT = 17

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1a2027",
    "muted": "#4d5965",
    "edge": "#6a7681",
    "compiler_core": "#1565a5",
    "search_space": "#00695f",
    "tuner": "#b35400",
    "measure": "#2c7a3f",
    "db": "#7b3fa0",
    "api": "#4d5965",
}
DARK = {
    "paper": "#181d22",
    "ink": "#e4e8ec",
    "muted": "#a9b4be",
    "edge": "#8b98a4",
    "compiler_core": "#6db1f2",
    "search_space": "#5fd0c3",
    "tuner": "#f0a35e",
    "measure": "#74cf8b",
    "db": "#cfa3ea",
    "api": "#a9b4be",
}


@dataclass(frozen=True)
class Step:
    """A box: its place in the grid, its package (of which it has the colour), and what it says."""

    column: int
    row: int
    colour: str
    package: str
    name: str
    says: Sequence[str]

    @property
    def left(self) -> int:
        """Pixels of the left edge."""
        return COLUMNS[self.column]

    @property
    def top(self) -> int:
        """Pixels of the upper edge."""
        return ROWS[self.row]


STEPS = (
    Step(
        0,
        0,
        "edge",
        "yours",
        "ONNX file, target",
        ("the model, and a file", "of the chip's numbers"),
    ),
    Step(
        1,
        0,
        "compiler_core",
        "compiler_core",
        "Graph",
        ("iteration domains, and", "index maps of operands"),
    ),
    Step(
        2,
        0,
        "compiler_core",
        "compiler_core",
        "Plan of kernels",
        ("fusion, layouts, order,", "stages, buffers"),
    ),
    Step(
        3,
        0,
        "search_space",
        "search_space",
        "Space of Configs",
        ("tiles, loop order, slots,", "cores: legal ones only"),
    ),
    Step(3, 1, "tuner", "tuner, cost_model", "Candidates", ("analytic draft, XGBoost,", "Optuna, climbing")),
    Step(2, 1, "measure", "measure", "Devices", ("simulated chip, this CPU,", "boards, recorded tables")),
    Step(1, 1, "db", "db", "Database", ("every trial; the best that", "was verified answers")),
    Step(
        0,
        1,
        "compiler_core",
        "compiler_core, runtime",
        "Program",
        ("which tile moves when; for", "this CPU a native library"),
    ),
)
DOORS = (
    ("tune", "the command line"),
    ("import tilewright", "the same verbs in Python"),
    ("tune serve", "REST and dashboard"),
    ("tune worker, Ray", "measuring on many hosts"),
)


def boxes() -> Iterator[str]:
    """The steps."""
    for step in STEPS:
        yield (
            f'<rect x="{step.left}" y="{step.top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="9" '
            f'class="box {step.colour}"/>'
            f'<rect x="{step.left}" y="{step.top + 9}" width="4" height="{BOX_HEIGHT - 18}" '
            f'class="full {step.colour}"/>'
        )
        left = step.left + 16
        yield words(left, step.top + 22, step.package, f"small {step.colour}")
        yield words(left, step.top + 46, step.name, "name")
        for line, said in enumerate(step.says):
            yield words(left, step.top + 70 + line * LINE_HEIGHT, said, "said")


def words(x: float, y: float, said: str, kind: str, anchor: str = "start") -> str:
    """A line of text."""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" class="{kind}">{escape(said)}</text>'


def arrow(*points: tuple[float, float]) -> str:
    """A line with a head at its end."""
    path = " ".join(f"{'L' if number else 'M'}{x:g} {y:g}" for number, (x, y) in enumerate(points))
    return f'<path d="{path}" class="arrow" marker-end="url(#head)"/>'


def arrows() -> Iterator[str]:
    """From step to step: along the first row, down, back along the second; and what records give back."""
    upper, lower = (row + BOX_HEIGHT / 2 for row in ROWS)
    for here, there in pairwise(COLUMNS):
        yield arrow((here + BOX_WIDTH, upper), (there - 3, upper))
        yield arrow((there, lower), (here + BOX_WIDTH + 3, lower))
    middle = COLUMNS[3] + BOX_WIDTH / 2
    yield arrow((middle, ROWS[0] + BOX_HEIGHT), (middle, ROWS[1] - 3))
    below, learned = ROWS[1] + BOX_HEIGHT, ROWS[1] + BOX_HEIGHT + 34
    start = COLUMNS[1] + BOX_WIDTH / 2
    yield arrow((start, below), (start, learned), (middle, learned), (middle, below + 3))
    across = (COLUMNS[2] + BOX_WIDTH / 2, learned + 18)
    yield words(*across, "records teach the cost model, and guide the next search", "note", "middle")
    note = COLUMNS[1] - 21
    yield words(note, ROWS[1] - 30, "checked before it is an answer:", "note", "middle")
    yield words(note, ROWS[1] - 13, "native = emulate = interpret", "note", "middle")
    yield f'<path d="M{note:g} {ROWS[1] - 6:g} V{lower - 8:g}" class="hint"/>'


def doors() -> Iterator[str]:
    """The ways in, below all steps."""
    left, width = COLUMNS[0], COLUMNS[-1] + BOX_WIDTH - COLUMNS[0]
    yield (
        f'<rect x="{left}" y="{DOORS_TOP}" width="{width}" height="{DOORS_HEIGHT}" rx="9" class="box api"/>'
        f'<rect x="{left}" y="{DOORS_TOP + 9}" width="4" height="{DOORS_HEIGHT - 18}" class="full api"/>'
    )
    yield words(left + 16, DOORS_TOP + 39, "api", "small api")
    for number, (name, said) in enumerate(DOORS):
        x = left + 76 + number * 212
        yield words(x, DOORS_TOP + 30, name, "door")
        yield words(x, DOORS_TOP + 50, said, "said")


def style() -> str:
    """Colours as classes, light first."""

    def colours(of: dict[str, str]) -> str:
        rules = [
            f".paper {{ fill: {of['paper']}; }}",
            f".name, .said, .door {{ fill: {of['ink']}; }}",
            f".note {{ fill: {of['muted']}; }}",
            f".box {{ fill: {of['paper']}; }}",
            f".arrow, .hint {{ stroke: {of['edge']}; }}",
            f".head {{ fill: {of['edge']}; }}",
        ]
        packages = [name for name in of if name not in ("paper", "ink", "muted")]
        rules += [f".box.{name} {{ stroke: {of[name]}; }}" for name in packages]
        rules += [f".full.{name}, .small.{name} {{ fill: {of[name]}; }}" for name in packages]
        return "\n".join(rules)

    return f"""{colours(LIGHT)}
.box {{ stroke-width: 1.3; }}
.arrow, .hint {{ fill: none; stroke-width: 1.6; }}
.hint {{ stroke-dasharray: 3 4; }}
.name {{ font-size: 17px; font-weight: 650; }}
.door {{ font: 600 14px ui-monospace, monospace; }}
.said, .note {{ font-size: 13.5px; }}
.small {{ font: 600 12px ui-monospace, monospace; }}
@media (prefers-color-scheme: dark) {{
{colours(DARK)}
}}"""


def drawing() -> str:
    """The picture as SVG."""
    said = (
        "An ONNX file and a target become a Graph, a plan of kernels, a space of Configs. Its candidates are "
        "measured on devices; every trial goes into the database, which teaches the cost model. The best "
        "verified Config becomes a Program. Ways in: the command line, Python, REST and dashboard, a farm."
    )
    head = (
        '<marker id="head" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="8" markerHeight="8" '
        'orient="auto"><path d="M0 0 L10 5 L0 10 z" class="head"/></marker>'
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            'font-family="system-ui, sans-serif">',
            f"<title>How Tilewright works</title><desc>{escape(said)}</desc>",
            f"<style>\n{style()}\n</style><defs>{head}</defs>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" class="paper"/>',
            *arrows(),
            *boxes(),
            *doors(),
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(drawing(), encoding="utf-8")
