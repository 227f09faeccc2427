"""The same slices as an SVG picture for reports: a row an engine, time to the right.

Waiting has the pale colour of the engine that is waited for, grey where it is no engine.
"""

from collections.abc import Iterable
from html import escape
from math import floor, log10

from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.simulator.trace import STAGES, Slice

_COLOURS = {
    STAGES: "#8c8c8c",
    "host": "#b07aa1",
    "kernel": "#bab0ac",
    "load": "#4e79a7",
    "matrix": "#e15759",
    "vector": "#59a14f",
    "store": "#f28e2b",
}
_PALE = {
    "load": "#cfdcea",
    "matrix": "#f8d3d4",
    "vector": "#d1e6cf",
    "store": "#fcdfc2",
    "slot": "#d9d9d9",
    "dispatch": "#efefef",
    "launch": "#efefef",
    "barrier": "#d9d9d9",
}
_LEFT, _ROW, _GAP, _TOP = 130, 22, 4, 40
_TICKS = 10
_MORE = " and what follows"
_LEAST_WIDTH = 0.25
"""Slices narrower than this many pixels are joined with their neighbours of the same kind."""


def svg_timeline(slices: Iterable[Slice], target: Target, width: int = 1400) -> str:
    """One self-contained <svg>, `width` pixels wide, with a tooltip on every slice."""
    pieces = [piece for piece in slices if piece.cycles > 0]
    rows = list(dict.fromkeys((piece.lane, piece.track) for piece in pieces))
    end = max((piece.start_cycle + piece.cycles for piece in pieces), default=1)
    scale = (width - _LEFT - 10) / end
    height = _TOP + len(rows) * (_ROW + _GAP) + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<text x="4" y="14">{end / target.cycles_per_us:.2f} us on {escape(target.name)}</text>',
        *_legend(dict.fromkeys(piece.stall for piece in pieces if piece.stall), height),
        *_axis(end / target.cycles_per_us, scale * target.cycles_per_us, height),
    ]
    for row, (lane, track) in enumerate(rows):
        y = _TOP + row * (_ROW + _GAP)
        parts.append(f'<text x="4" y="{y + 15}">{escape(f"{lane} {track}")}</text>')
        own = [piece for piece in pieces if (piece.lane, piece.track) == (lane, track)]
        parts += [_box(piece, y, scale) for piece in _joined(own, scale)]
    return "\n".join([*parts, "</svg>"])


def _legend(causes: Iterable[str], height: int) -> list[str]:
    """A patch for each cause of waiting, along the bottom."""
    parts, x = [f'<text x="4" y="{height - 6}">waits for</text>'], _LEFT
    for cause in causes:
        parts.append(f'<rect x="{x}" y="{height - 16}" width="12" height="12" fill="{_PALE[cause]}"/>')
        parts.append(f'<text x="{x + 16}" y="{height - 6}">{escape(cause)}</text>')
        x += 30 + 7 * len(cause)
    return parts


def _axis(end_us: float, pixels_per_us: float, height: int) -> list[str]:
    """Lines at round microseconds, about _TICKS of them."""
    power = 10.0 ** floor(log10(end_us / _TICKS))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= end_us / _TICKS)
    parts = []
    for tick in range(int(end_us / step) + 1):
        x = _LEFT + tick * step * pixels_per_us
        parts.append(f'<path d="M{x:.2f} {_TOP - 6}V{height - 22}" stroke="#dddddd"/>')
        parts.append(f'<text x="{x + 2:.2f}" y="{_TOP - 8}" fill="#666666">{tick * step:g} us</text>')
    return parts


def _joined(pieces: list[Slice], scale: float) -> list[Slice]:
    """Neighbours of one kind, each too narrow to see, as one slice."""
    joined: list[Slice] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.stall == piece.stall
            and piece.cycles * scale < _LEAST_WIDTH
            and (piece.start_cycle - last.start_cycle - last.cycles) * scale < _LEAST_WIDTH
        ):
            cycles = piece.start_cycle + piece.cycles - last.start_cycle
            name = last.name if last.name.endswith(_MORE) else f"{last.name}{_MORE}"
            joined[-1] = Slice(last.lane, last.track, name, last.start_cycle, cycles, last.stall)
        else:
            joined.append(piece)
    return joined


def _box(piece: Slice, y: int, scale: float) -> str:
    x, wide = _LEFT + piece.start_cycle * scale, max(piece.cycles * scale, _LEAST_WIDTH)
    colour = _PALE[piece.stall] if piece.stall else _COLOURS[piece.track]
    facts = ", ".join([f"{piece.cycles} cycles", *[f"{name} {value}" for name, value in piece.detail]])
    tooltip = f"<title>{escape(f'{piece.name}: {facts}')}</title>"
    box = f'<rect x="{x:.2f}" y="{y}" width="{wide:.2f}" height="{_ROW}" fill="{colour}">{tooltip}</rect>'
    if wide < 7 * len(piece.name) or piece.stall:
        return box
    return f'{box}<text x="{x + 3:.2f}" y="{y + 15}" fill="#ffffff">{escape(piece.name)}</text>'
