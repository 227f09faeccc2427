"""The innermost hot loop of a kernel's machine code, for tools that predict how long a loop takes."""

import re
from dataclasses import dataclass

_LABEL = re.compile(r"^(\.?L?[\w.$]+):")
_JUMP = re.compile(r"^\s+j\w+\s+(\.?L?[\w.$]+)")
_PRODUCT = re.compile(r"^\s+vfn?m(?:add|sub)\d+[ps]s\b")


@dataclass(frozen=True)
class HotLoop:
    """Lines of assembly from a loop's first instruction to its jump, and the multiply-adds among them."""

    lines: tuple[str, ...]
    products: int


def hot_loop(assembly: str) -> HotLoop | None:
    """Of the loops without another one inside, that with most multiply-adds; None where none has any."""
    lines = [line.split("#", 1)[0].rstrip() for line in assembly.splitlines()]
    lines = [line for line in lines if (line and not line.lstrip().startswith(".")) or _LABEL.match(line)]
    best: HotLoop | None = None
    start, label = 0, ""
    for at, line in enumerate(lines):
        if found := _LABEL.match(line):
            start, label = at + 1, found.group(1)
        elif (jump := _JUMP.match(line)) and jump.group(1) == label:
            body = tuple(lines[start : at + 1])
            products = sum(bool(_PRODUCT.match(each)) for each in body)
            if products > (best.products if best else 0):
                best = HotLoop(body, products)
    return best
