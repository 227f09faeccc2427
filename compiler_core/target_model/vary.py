"""The text of a target file with other numbers, comments and all else as they were."""

import re
from collections.abc import Mapping
from difflib import get_close_matches

from tilewright.compiler_core.errors import TargetError
from tilewright.compiler_core.target_model.file import parse_target
from tilewright.compiler_core.target_model.lines import lines_of
from tilewright.compiler_core.target_model.target import numbers_of

VALUE = r"[A-Za-z0-9_.+-]+"
UNLIMITED = "inf"
"""How numbers_of writes a rate without limit."""


def varied(text: str, changes: Mapping[str, str]) -> str:
    """`text` with the number at each dotted key replaced; TargetError for a key that is no number of it.

        l1_kib = 1024   # published      --l1_kib: 512-->      l1_kib = 512   # varied, was 1024

    A number that the file leaves at its default is added to its table.
    """
    target, mistakes = parse_target(text)
    if target is None:
        raise TargetError(f"the target to vary is none: {mistakes[0]}")
    known = dict(numbers_of(target))
    lines = text.splitlines()
    for key, value in changes.items():
        if key not in known or (isinstance(known[key], str) and known[key] != UNLIMITED):
            near = get_close_matches(key, list(known), n=1)
            hint = f"did you mean {near[0]}?" if near else "tune targets show NAME --numbers lists them"
            raise TargetError(f"{key!r} is no number of this target; {hint}")
        if not re.fullmatch(VALUE, value):
            raise TargetError(f"{value!r} is no number for {key}")
        places = lines_of("\n".join(lines))
        if key in places:
            index = places[key] - 1
            name, _, rest = lines[index].partition("=")
            before = rest.partition("#")[0].strip()
            lines[index] = f"{name}= {value}   # varied, was {before}"
        else:
            table, _, name = key.rpartition(".")
            lines.insert(places[table] if table else 0, f"{name} = {value}   # varied, was {known[key]}")
    return "\n".join(lines) + "\n"
