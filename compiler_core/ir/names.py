"""Names of kernels: the nodes of the model that an op came from, and a short line for a group of ops.

No digest depends on anything here. The text comes from the model: it is cut, and made printable.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

MOST_PATH = 256
"""Characters of a node's path that are kept: the last ones, which tell nodes apart."""
MOST_NAME = 64
"""Characters of a kernel's name."""
MOST_KINDS = 3
"""Kinds of ops that a name spells out of a node that is done in parts."""

Parts: TypeAlias = tuple[str, ...]


class Origin(NamedTuple):
    """A node of the model: the scopes it lies in and its own name, separated by "/", and its operator."""

    path: str
    op_type: str

    def within(self, name: str, op_type: str) -> "Origin":
        """A node of a function or a subgraph that this node enters."""
        return Origin(f"{self.path}/{name}"[-MOST_PATH:], op_type)

    @property
    def parts(self) -> Parts:
        """The scopes and the node's own name from the outside in; the operator where there is no name.

        Exporters repeat a module's path at each level: that is one scope a level.

            /layer1/layer1.0/conv2/Conv   ->   layer1, 0, conv2, Conv
        """
        pieces: list[str] = []
        for piece in filter(None, self.path.split("/")):
            if pieces and piece.startswith(f"{pieces[-1]}."):
                pieces.pop()
            pieces.append(piece)
        return tuple(part for piece in pieces for part in piece.split(".") if part) or (self.op_type,)


@dataclass(frozen=True)
class Scopes:
    """The number of ops in each scope of a network, nodes being scopes too; `shared` is the depth of the
    scope that holds them all.
    """

    ops: Mapping[Parts, int] = field(default_factory=dict)
    shared: int = 0


def scopes_of(origins: Iterable[Origin]) -> Scopes:
    """The scopes of a network, from the origin of each of its ops."""
    ops: Counter[Parts] = Counter()
    paths: set[Parts] = set()
    for origin in origins:
        parts = origin.parts
        paths.add(parts)
        ops.update(parts[:end] for end in range(1, len(parts) + 1))
    shared = 0
    if len(paths) > 1:
        for level in zip(*paths, strict=False):
            if len(set(level)) > 1:
                break
            shared += 1
        shared = min(shared, *(len(parts) - 1 for parts in paths))
    return Scopes(ops, shared)


def name_of_group(scopes: Scopes, members: Sequence[tuple[Origin, str]]) -> str:
    """The name of a kernel: `members` are origin and kind of each of its ops, in the network's order.

    A scope that lies in the kernel whole stands for its nodes. A node of which the kernel does only a part
    shows the kinds of that part.

        conv2/Conv and relu/Relu of layer1.0                ->   layer1.0.conv2 + relu
        all of encoder.0.attention                          ->   encoder.0.attention
        part of norm/LayerNormalization                     ->   encoder.0.norm [sum, div]
    """
    inside = scopes_of(origin for origin, _ in members).ops
    labels: dict[Parts, str] = {}
    first: Parts = ()
    for origin, _ in members:
        parts, found = origin.parts, _largest_scope(origin, scopes, inside)
        if found in labels:
            continue
        first = first or found
        said = found[_said_before(first, found) if labels else min(scopes.shared, len(found) - 1) :]
        label = ".".join(said)
        if inside[found] == inside[parts] and not _tells(parts[-1:]):
            label = f"{origin.op_type} {label}"
        if inside[parts] < scopes.ops.get(parts, 0):
            kinds = dict.fromkeys(kind for other, kind in members if other == origin)
            label = f"{label} [{', '.join(list(kinds)[:MOST_KINDS])}]"
        labels[found] = label
    return _joined(list(labels.values()))


def _largest_scope(origin: Origin, scopes: Scopes, inside: Mapping[Parts, int]) -> Parts:
    """The largest scope around a node that a kernel holds whole, below what the whole network shares.

    A scope of one node is a better name than the node, even where the kernel does only a part of it:
    conv2/Conv is conv2.
    """
    parts = origin.parts
    found, ops = len(parts), inside[parts]
    if found - 1 > scopes.shared and scopes.ops.get(parts[:-1], 0) == scopes.ops.get(parts, 0):
        found -= 1
    for end in range(found - 1, scopes.shared, -1):
        held = inside[parts[:end]]
        if held < scopes.ops.get(parts[:end], 0):
            break
        if held > ops:
            found, ops = end, held
    return parts[:found]


def _tells(parts: Parts) -> bool:
    """Whether a label is a word: numbers and single letters (n12, 0) are not."""
    return sum(character.isalpha() for part in parts for character in part) > 1


def _said_before(first: Parts, parts: Parts) -> int:
    """The number of outer scopes of `parts` that `first` has too, so that a name need not repeat them."""
    same = 0
    for one, other in zip(first, parts[:-1], strict=False):
        if one != other:
            break
        same += 1
    while same and not _tells(parts[same:]):
        same -= 1
    return same


def _joined(labels: Sequence[str]) -> str:
    """All labels where they fit; else the first, how many more, and the last."""
    whole = " + ".join(labels)
    if len(whole) <= MOST_NAME or len(labels) < 3:
        return shortened(whole)
    return shortened(f"{labels[0]} + {len(labels) - 2} more + {labels[-1]}")


def shortened(text: str, most: int = MOST_NAME) -> str:
    """`text` as one printable line of `most` characters at most, cut in the middle."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: 4 * MOST_PATH])
    head = most // 3
    return shown if len(shown) <= most else f"{shown[:head]}…{shown[head + 1 - most :]}"
