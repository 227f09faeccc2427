"""The memory map as SVG: which bytes of the arena each value holds at each kernel (time against offset)."""

from collections.abc import Sequence
from itertools import accumulate
from xml.sax.saxutils import escape

from tilewright.compiler_core.lowering.memory.allocate import Arena, TensorSpan

_LEFT, _TOP, _BOTTOM, _RIGHT = 90, 34, 44, 14
_PLOT_WIDTH, _PLOT_HEIGHT = 1100, 560
_LETTER_WIDTH, _LINE_HEIGHT = 5.6, 11
_TICKS = 8
_COLOURS = ("#8ecae6", "#ffd6a5", "#b7e4c7", "#f4acb7", "#cdb4db", "#e9edc9", "#a3cef1", "#f1dca7")


def memory_map(arena: Arena, names: Sequence[str], kernels: Sequence[str], title: str) -> str:
    """An SVG document: a rectangle a value, its name and bytes as text, live bytes per step as a line.

    `names[t]` names tensor t, `kernels[s]` the kernel of step s; offsets grow upwards from 0. Names may hold
    anything: what XML cannot carry is replaced.
    """
    steps, top = max(1, len(kernels)), max(1, arena.arena_bytes)
    across, up = _PLOT_WIDTH / steps, _PLOT_HEIGHT / top
    width, height = _LEFT + _PLOT_WIDTH + _RIGHT, _TOP + _PLOT_HEIGHT + _BOTTOM
    base = _TOP + _PLOT_HEIGHT
    spans = [span for block in arena.blocks for span in block.spans if span.bytes]
    held = [span for span in spans if span.first_step <= span.last_step]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="10">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="13">{_text(title)}</text>',
        *_axes(top, kernels, across, up),
    ]
    for span in held:
        offset = arena.offsets[span.tensor]
        box = (
            _LEFT + span.first_step * across,
            base - (offset + span.bytes) * up,
            (span.last_step - span.first_step + 1) * across,
            span.bytes * up,
        )
        parts.extend(_value(span, offset, names[span.tensor], box))
    points = " ".join(
        f"{_LEFT + (step + side) * across:.1f},{base - live * up:.1f}"
        for step, live in enumerate(_live_bytes(held, steps))
        for side in (0, 1)
    )
    parts.append(
        f'<polyline class="live" points="{points}" fill="none" stroke="#c1121f" stroke-width="1.5"/>'
    )
    return "\n".join([*parts, "</svg>", ""])


def _axes(top: int, kernels: Sequence[str], across: float, up: float) -> list[str]:
    base = _TOP + _PLOT_HEIGHT
    parts = [f'<path d="M{_LEFT} {_TOP}V{base}H{_LEFT + _PLOT_WIDTH}" fill="none" stroke="black"/>']
    for tick in range(_TICKS + 1):
        offset = top * tick // _TICKS
        parts.append(
            f'<text x="{_LEFT - 6}" y="{base - offset * up + 3:.1f}" text-anchor="end">{offset:,}</text>'
        )
    for step in range(0, len(kernels), max(1, len(kernels) // (2 * _TICKS))):
        at = _LEFT + (step + 0.5) * across
        parts += [
            f'<text x="{at:.1f}" y="{base + 14}" text-anchor="middle">{step}',
            f"<title>{_text(kernels[step])}</title></text>",
        ]
    parts.append(
        f'<text x="{_LEFT + _PLOT_WIDTH / 2}" y="{base + 34}" text-anchor="middle">'
        "time (kernels run one after the other); up: offset in bytes; line: live bytes</text>"
    )
    return parts


def _value(span: TensorSpan, offset: int, name: str, box: tuple[float, float, float, float]) -> list[str]:
    """The rectangle, its tooltip, and a label along its longer side where one fits."""
    x, y, width, height = box
    colour = _COLOURS[span.tensor % len(_COLOURS)]
    steps = f"steps {span.first_step} to {span.last_step}"
    parts = [
        f'<rect class="value" x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" '
        f'fill="{colour}" stroke="#555" stroke-width="0.4"><title>{_text(name)}: {span.bytes:,} bytes '
        f"at {offset:,}, {steps}</title></rect>"
    ]
    lying = width >= height
    room = int((max(width, height) - 6) / _LETTER_WIDTH)
    label = f"{name} {span.bytes:,} B"
    if min(width, height) < _LINE_HEIGHT or room < 5:
        return parts
    shown = label if len(label) <= room else f"{label[: room - 1]}\u2026"
    middle = (x + width / 2, y + height / 2)
    turn = "" if lying else f' transform="rotate(-90 {middle[0]:.1f} {middle[1]:.1f})"'
    parts.append(
        f'<text x="{middle[0]:.1f}" y="{middle[1] + 3:.1f}" text-anchor="middle" pointer-events="none"{turn}>'
        f"{_text(shown)}</text>"
    )
    return parts


def _live_bytes(spans: Sequence[TensorSpan], steps: int) -> list[int]:
    change = [0] * (steps + 1)
    for span in spans:
        change[span.first_step] += span.bytes
        change[span.last_step + 1] -= span.bytes
    return list(accumulate(change[:steps]))


def _text(text: str) -> str:
    """`text` as XML character data: escaped, one character for each that no document may hold."""
    return escape("".join(char if char.isprintable() else "\ufffd" for char in text))
