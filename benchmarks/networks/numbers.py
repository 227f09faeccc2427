"""Emulated Programs of a network, judged as everything in Tilewright is: op by op, and against its file."""

from dataclasses import dataclass
from functools import cached_property

from benchmarks.networks.files import Network, feeds_of
from tilewright.compiler_core.checking.judge_model import ModelJudged, judge_model
from tilewright.compiler_core.checking.judge_program import judge_program
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.lowering.program import Program
from tilewright.compiler_core.onnx_import.importer import ImportedModel


@dataclass(frozen=True)
class Agreement:
    """The worst of the judged values, as share of what it may be off by: fine up to 1.

    `caught` is the smallest error, relative to a value's largest magnitude, noticed in any of them.
    """

    values: int
    worst: float
    where: str
    caught: float


@dataclass(frozen=True)
class Reference:
    """A network on seeded inputs."""

    network: Network
    model: ImportedModel
    seed: int

    @cached_property
    def feeds(self) -> dict[str, Array]:
        """Inputs by name."""
        return feeds_of(self.model, self.seed)

    @cached_property
    def meant(self) -> ModelJudged:
        """The network as imported against its file."""
        return judge_model(self.model, self.feeds)

    def compare(self, program: Program, *, sampled: bool = False) -> Agreement:
        """Emulate `program`, or some tiles of every kernel, and judge it; and the network itself."""
        graph = self.model.graph
        inputs = {value: self.feeds[name] for name, value in self.model.inputs}
        judged = judge_program(graph, program, inputs, sample_seed=self.seed if sampled else None)
        found = [(each.value, "", each.judgement) for each in judged]
        found += [(one.value, " as imported", one.judgement) for one in self.meant.meant]
        if not found:
            return Agreement(0, 0.0, "", 0.0)
        value, how, worst = max(found, key=lambda each: each[2].share)
        caught = max(judgement.caught for *_, judgement in found)
        return Agreement(len({each[0] for each in found}), worst.share, graph.name_of(value) + how, caught)
