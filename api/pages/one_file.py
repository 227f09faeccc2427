"""A tale as one HTML file: tables and drawings, style and script inside, no other address."""

import re

from markupsafe import Markup

from tilewright.api.pages.drawn.drawings import DRAWINGS
from tilewright.api.pages.render import HERE, filled
from tilewright.api.pages.story import Tale


def one_file(title: str, tale: Tale) -> str:
    """The text of the file."""
    style, script = (
        (HERE / "static" / name).read_text(encoding="utf-8") for name in ("style.css", "graph.js")
    )
    drawings = [(name, Markup(DRAWINGS[name](tale))) for name in tale.drawable]
    return filled(
        "report.html",
        title=title,
        story=tale,
        style=Markup(style),
        script=Markup(script),
        drawings=drawings,
        linked=False,
    )


def standing_alone(svg: str) -> str:
    """A drawing with the light colours of the style sheet in place of its tokens, for a file of its own."""
    style = (HERE / "static" / "style.css").read_text(encoding="utf-8")
    light = style[: style.index("@media")]
    tokens: dict[str, str] = dict(re.findall(r"--([\w-]+):\s*([^;]+);", light))
    return re.sub(r"var\(--([\w-]+)[^)]*\)", lambda found: str(tokens[found[1]]), svg)
