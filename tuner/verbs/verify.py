"""`tune verify`: does the Program that a user would run compute the model's numbers?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tilewright.compiler_core.checking.emulate import Seen, emulate
from tilewright.compiler_core.checking.judge import Judgement
from tilewright.compiler_core.checking.judge_model import judge_model
from tilewright.compiler_core.checking.judge_program import Moved, judge_program, moved_from
from tilewright.compiler_core.checking.verify import require_sound
from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.compiler_core.onnx_import.feeds import draw_feeds
from tilewright.compiler_core.onnx_import.reference import named_values
from tilewright.compiler_core.target_model.precision import described, precision_of
from tilewright.tuner.answer.check import machine_code_for
from tilewright.tuner.answer.room import require_room
from tilewright.tuner.verbs.answers import CompiledNetwork
from tilewright.tuner.verbs.lookup import compile_known

MODEL, TARGET = "model", "target"
"""Whose dtypes a verification runs in."""
MOST = float(np.finfo(np.float64).max)
"""Stands for infinity in figures that go into JSON."""


@dataclass(frozen=True)
class Deviation:
    """One value of the network: the distance of the Program's value from float64, and whether it is right.

    `max_rel` is of the value's largest magnitude. `ok` is the judgement on the op that makes it, from the
    operands that it had; `share` its error over the tolerance, `why` the mistake. `caught` is
    the smallest error relative to the largest magnitude that is noticed at any element.
    """

    name: str
    position: int
    dtype: str
    max_abs: float
    max_rel: float
    cosine: float
    ok: bool
    share: float = 0.0
    caught: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Verdict:
    """All values that the model names, in the order of the network, and others that are wrong.

    `ok` when each is right. `compared` of them were also computed from the model's file by others, in
    float64; `untold` says why the others were not. `left_open` of them have elements that are not judged
    against the file, because the standard defines no value there. In the target's dtypes nothing has to be
    right: `dtype` is the storage type of floats, and `ok` is always true. `guesses` of the `calls` of kernels
    run a Config that was not measured. `misdeclared` says where the file and its own nodes differ.
    """

    model: str
    target: str
    values: tuple[Deviation, ...]
    dtype: str = MODEL
    compared: int = 0
    untold: str = ""
    left_open: int = 0
    outputs: tuple[str, ...] = ()
    calls: int = 0
    guesses: int = 0
    misdeclared: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all values are right."""
        return self.dtype != MODEL or all(value.ok for value in self.values)

    @property
    def first_bad(self) -> Deviation | None:
        """The first wrong value down the network."""
        return next((value for value in self.values if not value.ok), None)

    @property
    def furthest(self) -> Deviation | None:
        """The output of the network that has moved furthest."""
        outputs = [value for value in self.values if value.name in self.outputs]
        return max(outputs, key=lambda value: value.max_rel, default=None)

    @property
    def caught(self) -> Mapping[str, Deviation]:
        """By dtype, the value in which the largest error may go unnoticed."""
        loosest: dict[str, Deviation] = {}
        for value in self.values:
            if value.dtype not in loosest or value.caught > loosest[value.dtype].caught:
                loosest[value.dtype] = value
        return loosest


def verify(
    model: str | Path,
    target: str | Path,
    *,
    dims: Mapping[str, int] | None = None,
    inputs: Mapping[str, Given] | None = None,
    objective: str = "latency",
    seed: int = 0,
    database: str | Path = "tilewright.db",
    dtype: str = MODEL,
    toolchain: str | None = None,
) -> Verdict:
    """Run the best known Program of a network on seeded random inputs, and judge all that it computes.

    Judged is every op of every kernel from the operands that it had, and the network as imported against
    the model's file, both against float64 (checking/judge.py). With `dtype` "target" every value is rounded
    as the target stores it, sums as it keeps them, and the error is printed, not judged. `toolchain` is as in
    `lookup`.
    """
    if dtype not in (MODEL, TARGET):
        raise UsageError(f"--dtype {dtype!r} is unknown; choose model or target")
    compiled = compile_known(
        model,
        target,
        objective=objective,
        dims=dims,
        inputs=inputs,
        database=database,
        toolchain=toolchain,
    )
    opened, graph = compiled.opened, compiled.graph
    guesses = sum(compiled.guesses.values())
    if toolchain is not None and guesses == compiled.calls > 0:
        raise UsageError(
            f"no record of toolchain {toolchain!r} answers for this network; without --toolchain those of the"
            " target's own device do, and guesses where there are none"
        )
    require_sound(graph, compiled.program, opened.target)
    require_room(graph)
    feeds = draw_feeds(opened.model, seed)
    arrays = {value: feeds[name] for name, value in opened.model.inputs}
    names = named_values(opened.model)
    outputs = tuple(name for name, _ in opened.model.outputs)
    verdict = Verdict(
        opened.model.name,
        opened.target.name,
        (),
        outputs=outputs,
        calls=compiled.calls,
        guesses=guesses,
        misdeclared=opened.model.misdeclared,
    )
    if dtype == TARGET:
        return replace(
            verdict, dtype=described(opened.target), values=_in_targets_dtypes(compiled, arrays, names)
        )
    meant = judge_model(opened.model, feeds, graph.rewrites)
    found = _Found(graph, {value: name for name, value in names.items()})
    with machine_code_for(graph, compiled.program) as native:
        for each in judge_program(graph, compiled.program, arrays, exact=True, native=native):
            found.add(each.value, each.judgement, "the program has", each.moved)
    for one in meant.meant:
        found.add(one.value, one.judgement, "the network as imported has")
    compared = len({one.value for one in meant.meant} & found.reported.keys())
    return replace(
        verdict,
        values=found.values(),
        compared=compared,
        untold=meant.untold,
        left_open=meant.left_open,
    )


class _Found:
    """The reports on each value, put together."""

    def __init__(self, graph: Graph, names: Mapping[int, str]) -> None:
        self._graph = graph
        self._names = names
        self._of: dict[int, Deviation] = {}

    def add(self, value: int, judgement: Judgement, who: str, moved: Moved | None = None) -> None:
        """One more judgement on a value; the worst counts."""
        before = self._of.get(value)
        if before is None:
            name = self._names.get(value, self._graph.name_of(value))
            before = Deviation(
                name, self._graph.producer[value], str(judgement.dtype), 0.0, 0.0, 1.0, ok=True
            )
        if moved is not None:
            before = replace(before, max_abs=moved.max_abs, max_rel=moved.max_rel, cosine=moved.cosine)
        if not judgement.share <= before.share:
            why = "" if judgement.ok else f"{who} {judgement}"
            before = replace(before, ok=judgement.ok, share=min(judgement.share, MOST), why=why)
        self._of[value] = replace(before, caught=min(max(before.caught, judgement.caught), MOST))

    @property
    def reported(self) -> Mapping[int, Deviation]:
        """Values that the model names, and the wrong ones."""
        return {value: each for value, each in self._of.items() if value in self._names or not each.ok}

    def values(self) -> tuple[Deviation, ...]:
        """The reported values, in the order of the network."""
        return tuple(sorted(self.reported.values(), key=lambda each: (each.position, each.name)))


def _in_targets_dtypes(
    compiled: CompiledNetwork, inputs: Mapping[int, Array], names: Mapping[str, int]
) -> tuple[Deviation, ...]:
    """The error of named values beside the network in the model's dtypes, where they are computed whole."""
    graph, watched = compiled.graph, dict[int, Seen]()
    known = interpret(graph, inputs)
    precision = precision_of(graph, compiled.opened.target, known)
    stored = emulate(graph, compiled.program, inputs, None, precision, watched)
    got = {value: seen.array for value, seen in watched.items() if seen.whole} | stored
    reported = []
    for name, value in names.items():
        if value in got and value in graph.producer:
            far = moved_from(got[value], known[value])
            kind = str(graph.values[value].dtype)
            figures = far.max_abs, far.max_rel, far.cosine
            reported.append(Deviation(name, graph.producer[value], kind, *figures, ok=True))
    return tuple(sorted(reported, key=lambda each: (each.position, each.name)))
