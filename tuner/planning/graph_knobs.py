"""The knobs of a whole network: where merging starts, how far it goes, and the rule that orders the groups.

    epilogues, most_ops   merge from products with epilogues or from single ops, up to so many ops a group
    splits, unfolds       whether ops take the better forms found of that kind; only where there are any
    order                 least traffic found, or a list schedule by six weights; only where values spill

They are searched as an Optuna study of priced networks: nothing is measured. No knob is about one kernel.
"""

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Self

from tilewright.compiler_core.ir.graph import Rewrite
from tilewright.compiler_core.lowering.kernel_order import in_list_order, order_groups
from tilewright.compiler_core.lowering.pipeline import Plan
from tilewright.compiler_core.order.portfolio import ListWeights
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.transforms.fuse import FusionPolicy, Group, group_greedily
from tilewright.compiler_core.transforms.rewrites import Split

if TYPE_CHECKING:
    import optuna

MOST_OPS = (16, 32, 64, 128)
WEIGHTS = tuple(field.name for field in fields(ListWeights) if field.name != "backward")


@dataclass(frozen=True)
class GraphKnobs:
    """One choice. `weights` are those of a list schedule; without them the order is that of least traffic."""

    epilogues: bool = True
    most_ops: int = 64
    weights: ListWeights | None = None
    splits: bool = True
    unfolds: bool = True

    def takes(self, rewrite: Rewrite) -> bool:
        """Whether ops may have this form."""
        return self.splits if isinstance(rewrite, Split) else self.unfolds

    def without_forms(self) -> Self:
        """The same with every op in its own form."""
        return replace(self, splits=False, unfolds=False)

    def start(self, base: Plan) -> tuple[Group, ...]:
        """The groups that merging begins with."""
        return base.groups if self.epilogues else group_greedily(base.graph, FusionPolicy(epilogues=False))

    def ordered(self, base: Plan, groups: tuple[Group, ...], target: Target) -> tuple[Group, ...]:
        """`groups` as the rule orders them."""
        if self.weights is None:
            return order_groups(base.graph, groups, target)
        return in_list_order(base.graph, groups, target, self.weights)


def ask_knobs(
    trial: "optuna.Trial", *, spills: bool, splits: bool = False, unfolds: bool = False
) -> GraphKnobs:
    """The choices of a trial of a study; `spills`: whether an order can keep more in the LLB; `splits` and
    `unfolds`: whether there are such forms to take.
    """
    epilogues = trial.suggest_categorical("epilogues", (True, False))
    most_ops = trial.suggest_categorical("most_ops", MOST_OPS)
    splits = not splits or trial.suggest_categorical("splits", (True, False))
    unfolds = not unfolds or trial.suggest_categorical("unfolds", (True, False))
    weights = None
    if spills and trial.suggest_categorical("order", ("traffic", "list")) == "list":
        drawn = {name: trial.suggest_float(name, -1.0, 1.0) for name in WEIGHTS}
        weights = ListWeights(**drawn, backward=trial.suggest_categorical("backward", (False, True)))
    return GraphKnobs(epilogues, most_ops, weights, splits, unfolds)


def default_trial() -> dict[str, object]:
    """The parameters of the choice made without a study: the first trial of every study."""
    default = GraphKnobs()
    return {
        "epilogues": default.epilogues,
        "most_ops": default.most_ops,
        "splits": default.splits,
        "unfolds": default.unfolds,
        "order": "traffic",
    }
