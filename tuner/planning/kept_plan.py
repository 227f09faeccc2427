"""A first plan as an entry of the plan cache, and back.

Only a plan that no record and no measurement has a part in is kept: what it follows from is the network, the
target and the options alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tilewright.compiler_core.digest import Json
from tilewright.compiler_core.errors import TilewrightError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.graph_json import graph_to_json
from tilewright.compiler_core.ir.layouts import Layout, layout_from
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.toolchain import TOOLCHAIN
from tilewright.compiler_core.transforms.fuse import Group
from tilewright.compiler_core.transforms.rewrites import rewrite_from
from tilewright.tuner.planning.rewrites import Better


@dataclass(frozen=True)
class KeptPlan:
    """Layouts and better forms found; whether the plan takes the forms; its groups in order and their price
    in us; the groups of the plan that was left for the forms, if any; the kernels priced on the way.
    """

    layouts: Mapping[int, Layout]
    better: Mapping[int, Better]
    with_forms: bool
    groups: tuple[Group, ...]
    price_us: float
    plain: tuple[Group, ...] | None
    priced: tuple[str, ...]

    def to_json(self) -> Json:
        """As an entry."""
        return {
            "layouts": [[value, str(layout)] for value, layout in self.layouts.items()],
            "better": [[op, str(b.rewrite), b.form_us, b.own_us] for op, b in self.better.items()],
            "with_forms": self.with_forms,
            "groups": [list(group) for group in self.groups],
            "price_us": self.price_us,
            "plain": None if self.plain is None else [list(group) for group in self.plain],
            "priced": list(self.priced),
        }

    @staticmethod
    def from_json(entry: Any) -> "KeptPlan | None":
        """Inverse of `to_json`; None where it is none."""
        try:
            return KeptPlan(
                {int(value): layout_from(text) for value, text in entry["layouts"]},
                {
                    int(op): Better(rewrite_from(form), float(form_us), float(own_us))
                    for op, form, form_us, own_us in entry["better"]
                },
                bool(entry["with_forms"]),
                _groups(entry["groups"]),
                float(entry["price_us"]),
                None if entry["plain"] is None else _groups(entry["plain"]),
                tuple(map(str, entry["priced"])),
            )
        except (KeyError, TypeError, ValueError, TilewrightError):
            return None


def _groups(entry: Sequence[Sequence[int]]) -> tuple[Group, ...]:
    return tuple(tuple(map(int, group)) for group in entry)


def about_plan(graph: Graph, target: Target, options: Json) -> Json:
    """What a first plan follows from, beside the code."""
    return ["plan", graph_to_json(graph), target.digest, TOOLCHAIN, options]
