"""Line numbers of the keys of a target file, which tomllib does not give."""

import re


def lines_of(text: str) -> dict[str, int]:
    """Line of every table header and key, by dotted path with array positions."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    stem = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if found := re.match(r"\s*(\[\[?)\s*([\w.\"' -]+?)\s*\]", line):
            stem = _plain(found[2])
            if found[1] == "[[":
                at = counts[stem] = counts.get(stem, -1) + 1
                stem = f"{stem}.{at}"
            lines.setdefault(stem, number)
        elif found := re.match(r"\s*([\w.\"'-]+)\s*=", line):
            lines.setdefault(f"{stem}.{_plain(found[1])}".lstrip("."), number)
    return lines


def _plain(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))
