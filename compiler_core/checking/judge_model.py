"""Does the network as imported mean what its file says? The file's own values against the Graph's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tilewright.compiler_core.checking.judge_meaning import Meant, Reported, judge_meaning
from tilewright.compiler_core.ir.graph import Rewrites
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.feeds import contradiction
from tilewright.compiler_core.onnx_import.importer import ImportedModel
from tilewright.compiler_core.onnx_import.reference import RefusedError, named_values, reference_walk


@dataclass(frozen=True)
class ModelJudged:
    """What was compared of a model, by value of its Graph, in the order of its nodes.

    `untold` says why the rest was not: the node that nobody else runs, or an extent that is bound to another
    size than the inputs make. Empty when all was.
    """

    meant: tuple[Meant, ...]
    untold: str = ""

    @property
    def wrong(self) -> Meant | None:
        """The first value that does not mean what the model says."""
        return next((each for each in self.meant if not each.judgement.ok), None)


def judge_model(
    model: ImportedModel, feeds: Mapping[str, Array], rewrites: Rewrites | None = None
) -> ModelJudged:
    """Judge the values that `model` names and its Graph still makes, on `feeds`, by name of the input.

    With `rewrites` the other forms of ops are judged too, against the ops as imported.
    """
    names = {name: value for name, value in named_values(model).items() if value in model.graph.producer}
    inputs = {value: feeds[name] for name, value in model.inputs}
    teller = _Teller(model, {**feeds, **model.given}, names)
    meant = tuple(judge_meaning(model.graph, inputs, teller.reported(), names.values(), rewrites))
    return ModelJudged(meant, teller.untold)


@dataclass
class _Teller:
    model: ImportedModel
    feeds: Mapping[str, Array]
    names: Mapping[str, int]
    untold: str = field(default="", init=False)

    def reported(self) -> Iterator[Reported]:
        """Values by the reference, as far as it gets."""
        self.untold = contradiction(self.model, self.feeds)
        if self.untold:
            return
        wanted = {name: self.model.graph.values[value].dtype.numpy for name, value in self.names.items()}
        try:
            for each in reference_walk(self.model.path, wanted, self.feeds):
                yield Reported(self.names[each.name], each.array, each.rounded)
        except RefusedError as error:
            self.untold = str(error)
