"""Does the network as imported mean what its file says? The file's own values against the Graph's.

Others run the file (onnx_import/reference.py), and what they make of it is theirs: so they do it in a process
of its own, where a crash or a loop without end costs the comparison of what comes after, and nothing else.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from tilewright.compiler_core.checking.apart import LostError, Send, apart
from tilewright.compiler_core.checking.judge import Judgement
from tilewright.compiler_core.checking.judge_meaning import Meant, Reported, judge_meaning
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Rewrites
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.feeds import contradiction
from tilewright.compiler_core.onnx_import.importer import ImportedModel
from tilewright.compiler_core.onnx_import.reference import RefusedError, named_values, reference_walk


@dataclass(frozen=True)
class ModelJudged:
    """The comparison of a model, by value of its Graph, in the order of its nodes. `untold` is the reason why
    the rest was not compared: a node that the reference cannot run, or an extent that is bound to another
    size than the inputs make. It is empty when every value was compared.
    """

    meant: tuple[Meant, ...]
    untold: str = ""

    @property
    def wrong(self) -> Meant | None:
        """The first value that differs from the model's."""
        return next((each for each in self.meant if not each.judgement.ok), None)

    @property
    def left_open(self) -> int:
        """Values with elements of which the standard leaves open what they are: these are not judged."""
        return len({each.value for each in self.meant if each.left_open})


def judge_model(
    model: ImportedModel, feeds: Mapping[str, Array], rewrites: Rewrites | None = None
) -> ModelJudged:
    """Judge the values that `model` names and its Graph still makes, on `feeds`, by name of the input.

    With `rewrites` the other forms of ops are judged too, against the ops as imported.
    """
    found = _Found()
    try:
        for message in apart(partial(_judge, model, feeds, rewrites)):
            found.add(message)
    except LostError as error:
        found.untold = f"the outside reference {error} at {found.node}" if found.node else str(error)
        if rewrites:
            meant = [each for each in found.meant if not each.of_form]
            inputs = {value: feeds[name] for name, value in model.inputs}
            found.meant = [*meant, *judge_meaning(model.graph, inputs, (), (), rewrites)]
    return ModelJudged(tuple(found.meant), found.untold)


@dataclass
class _Found:
    """The lines that the other process has sent so far, and the node that it was about to run."""

    meant: list[Meant] = field(default_factory=list)
    untold: str = ""
    node: str = ""

    def add(self, message: Mapping[str, Any]) -> None:
        """One line of it."""
        self.node = message.get("node", self.node)
        self.untold = message.get("untold", self.untold)
        if "value" in message:
            figures = dict(message["judgement"], dtype=DType(message["judgement"]["dtype"]))
            figures["place"] = tuple(figures["place"])
            told = message["value"], Judgement(**figures), message["of_form"], message["left_open"]
            self.meant.append(Meant(*told))


def _judge(model: ImportedModel, feeds: Mapping[str, Array], rewrites: Rewrites | None, send: Send) -> None:
    """Send every node that is about to be run, every judgement, and why others were not made."""
    names = {name: value for name, value in named_values(model).items() if value in model.graph.producer}
    inputs = {value: feeds[name] for name, value in model.inputs}
    teller = _Teller(model, {**feeds, **model.given}, names, lambda node: send({"node": node}))
    for each in judge_meaning(model.graph, inputs, teller.reported(), names.values(), rewrites):
        send({**vars(each), "judgement": asdict(each.judgement)})
    send({"untold": teller.untold})


@dataclass
class _Teller:
    model: ImportedModel
    feeds: Mapping[str, Array]
    names: Mapping[str, int]
    starts: Callable[[str], None]
    untold: str = field(default="", init=False)

    def reported(self) -> Iterator[Reported]:
        """Values by the reference, as far as it gets."""
        self.untold = contradiction(self.model, self.feeds)
        if self.untold:
            return
        wanted = {name: self.model.graph.values[value].dtype.numpy for name, value in self.names.items()}
        try:
            for each in reference_walk(self.model.path, wanted, self.feeds, self.starts):
                yield Reported(self.names[each.name], each.array, each.rounded, each.other)
        except RefusedError as error:
            self.untold = str(error)
