"""The network as a graph of kernels, drawn on the server: a box a kernel, coloured by its time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from tilewright.compiler_core.ir.names import shortened

BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y, MARGIN = 256, 44, 18, 26, 12
BLOCK_GAP = 44
WIDE = 1.7
"""Width over height that a long network is folded to: rows are cut into blocks, side by side."""
MOST_LETTERS = 32
MOST_BOXES = 1_000
"""Kernels that are drawn: those of a larger network that run first."""
ROUNDS = 4
HEAT = 6
"""Shades from a kernel that takes hardly anything to the one that takes most; style.css has their colours."""


@dataclass(frozen=True)
class NodePlaces:
    """Column and row of every box: a row below all that it reads, a column near them."""

    columns: Sequence[int]
    rows: Sequence[int]


def layout_of(boxes: int, edges: Sequence[tuple[int, int]]) -> NodePlaces:
    """Rows by the longest way from an input; columns by the mean of the neighbours' (K. Sugiyama, 1981)."""
    above: list[list[int]] = [[] for _ in range(boxes)]
    below: list[list[int]] = [[] for _ in range(boxes)]
    for source, reader in edges:
        above[reader].append(source)
        below[source].append(reader)
    rows = [0] * boxes
    for box in range(boxes):  # kernels come in an order that respects data
        rows[box] = max((rows[source] + 1 for source in above[box]), default=0)
    layers: list[list[int]] = [[] for _ in range(max(rows, default=-1) + 1)]
    for box, row in enumerate(rows):
        layers[row].append(box)
    place = {box: index for layer in layers for index, box in enumerate(layer)}
    for turn in range(ROUNDS):
        beside = above if turn % 2 == 0 else below
        for layer in layers if turn % 2 == 0 else reversed(layers):
            layer.sort(key=lambda box: (_mean([place[other] for other in beside[box]], place[box]), box))
            place.update((box, index) for index, box in enumerate(layer))
    return NodePlaces([place[box] for box in range(boxes)], rows)


def _mean(places: Sequence[int], own: int) -> float:
    return sum(places) / len(places) if places else float(own)


def network_svg(graph: Mapping[str, Any]) -> str:
    """`graph` as pictures have it, as one <svg> at its natural size. A box links to #kernel-N, its row."""
    boxes = graph["kernels"][:MOST_BOXES]
    edges = [(a, b) for a, b in graph["edges"] if a < len(boxes) and b < len(boxes)]
    layout = layout_of(len(boxes), edges)
    left, top, width, height = _places(layout)
    most = max(each["us"] for each in boxes) or 1.0
    total = sum(each["us"] for each in boxes) or 1.0
    ways = "".join(
        _way((left[a], top[a]), (left[b], top[b]), layout.rows[b] - layout.rows[a] > 1) for a, b in edges
    )
    drawn = "".join(
        _box(index, each, left[index], top[index], most, total) for index, each in enumerate(boxes)
    )
    slowest = max(boxes, key=lambda each: each["us"])
    every = len(graph["kernels"])
    cut = f" The first {len(boxes)} of {every} are drawn." if len(boxes) < every else ""
    says = (
        f"{len(boxes)} kernels and what they read of each other; the stronger a box's colour, the more time. "
        f"{slowest['name']} takes most, {slowest['us']:.4g} us.{cut}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="group" aria-label="Network" class="network" '
        f'font-family="system-ui, sans-serif" font-size="12">'
        f"<title>Network</title><desc>{escape(says)}</desc>{ways}{drawn}</svg>"
    )


def _places(layout: NodePlaces) -> tuple[list[int], list[int], int, int]:
    """Left and upper edge of every box in pixels, and the size of the whole. Rows of a long network are cut
    into blocks that stand side by side, each as wide as it needs to be.
    """
    rows = max(layout.rows, default=0) + 1
    across = [0] * rows
    for column, row in zip(layout.columns, layout.rows, strict=True):
        across[row] = max(across[row], column + 1)
    step_x, step_y = BOX_WIDTH + GAP_X, BOX_HEIGHT + GAP_Y
    blocks = max(1, round((WIDE * rows * step_y / (max(across, default=1) * step_x)) ** 0.5))
    each = -(-rows // blocks)
    starts = [MARGIN]
    for first in range(0, rows, each):
        starts.append(starts[-1] + max(across[first : first + each]) * step_x - GAP_X + BLOCK_GAP)
    left = [
        starts[row // each] + column * step_x for column, row in zip(layout.columns, layout.rows, strict=True)
    ]
    top = [MARGIN + row % each * step_y for row in layout.rows]
    return left, top, starts[-1], 2 * MARGIN + min(rows, each) * step_y - GAP_Y


def _way(source: tuple[int, int], reader: tuple[int, int], long: bool) -> str:
    """A curve from the lower edge of one box to the upper edge of another; a long one passes on the right,
    and one into the next block comes up between the two.
    """
    (x, y), (to_x, to_y) = source, reader
    start_x, start_y, end_x = x + BOX_WIDTH / 2, y + BOX_HEIGHT, to_x + BOX_WIDTH / 2
    if long and to_y > start_y:
        right, middle = max(x, to_x) + BOX_WIDTH, BOX_HEIGHT // 2
        way = (
            f"M{x + BOX_WIDTH} {y + middle} C{right + BLOCK_GAP} {y + middle} "
            f"{right + BLOCK_GAP} {to_y + middle} {to_x + BOX_WIDTH} {to_y + middle}"
        )
    elif to_y < start_y:
        way = (
            f"M{x + BOX_WIDTH} {y + BOX_HEIGHT / 2:.0f} C{x + BOX_WIDTH + BLOCK_GAP} {y:.0f} "
            f"{to_x - BLOCK_GAP} {to_y + BOX_HEIGHT:.0f} {to_x} {to_y + BOX_HEIGHT / 2:.0f}"
        )
    else:
        way = (
            f"M{start_x:.0f} {start_y} C{start_x:.0f} {start_y + GAP_Y} "
            f"{end_x:.0f} {to_y - GAP_Y} {end_x:.0f} {to_y}"
        )
    return f'<path d="{way}" fill="none" stroke="var(--muted, #5a6570)" stroke-width="1.2"/>'


def _box(at: int, kernel: Mapping[str, Any], x: float, y: float, most: float, total: float) -> str:
    heat = min(HEAT - 1, int(kernel["us"] / most * HEAT))
    nodes = "\n".join(kernel["nodes"])
    cost = f"{kernel['us']:.4g} us, {kernel['us'] / total:.1%}, stage {kernel['stage']}"
    where = " (host)" if kernel["host"] else ""
    return (
        f'<a href="#kernel-{at}" aria-label="{escape(kernel["name"], quote=True)}, {cost}">'
        f"<title>{escape(kernel['name'])}{where}: {cost}\n{escape(nodes)}</title>"
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" '
        f'class="heat{heat}" fill="var(--heat{heat}, #cfe1f5)" stroke="var(--muted, #5a6570)"/>'
        f'<text x="{x + 10:.0f}" y="{y + 18:.0f}" fill="var(--on-heat{heat}, #111)">'
        f"{escape(shortened(kernel['name'], MOST_LETTERS))}</text>"
        f'<text x="{x + 10:.0f}" y="{y + 34:.0f}" fill="var(--on-heat{heat}, #111)" font-size="11">'
        f"{escape(cost + where)}</text></a>"
    )
