"""Does a Config compute the right numbers? Emulate its kernel on random data, compare with its meaning.

Data are small integers, where every order of evaluation is exact, so that exact ops must agree bit for bit;
kernels with transcendentals or divisions are judged as every value is (compiler_core/checking/judge.py).
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from tilewright.compiler_core.checking.emulate import Seen, run_kernel
from tilewright.compiler_core.checking.judge_model import judge_model
from tilewright.compiler_core.checking.judge_program import judge_natively, judge_ops, judge_program
from tilewright.compiler_core.checking.probe import SMALL, difference, exact_probe
from tilewright.compiler_core.checking.verify import require_sound, verify_kernel
from tilewright.compiler_core.errors import CheckError, ConfigError, ModelError, VerifyError
from tilewright.compiler_core.ir.dtypes import TensorType
from tilewright.compiler_core.ir.graph import Graph, Rewrites
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.ir.workload import as_its_own
from tilewright.compiler_core.lowering.program import KernelCall, Program
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import CoreRange
from tilewright.compiler_core.onnx_import.feeds import draw_feeds
from tilewright.compiler_core.onnx_import.importer import ImportedModel
from tilewright.compiler_core.target_model.target import Target
from tilewright.db.records import Verification
from tilewright.measure.host.evaluator import NativeEvaluator
from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.knobs import Config
from tilewright.search_space.programs import program_of
from tilewright.tuner.network.book import Book
from tilewright.tuner.network.opened import Opened

MOST_MACS = 2_000_000_000
"""Networks with more arithmetic than this are not run in numpy as a whole."""
MOST_STEPS = 8_192
"""Nor is a kernel or a network of more steps of tiles: numpy takes about 0.2 ms for each."""


class KernelCheck:
    """The data of one kernel, made once, and the verdict on any of its Configs.

    A Config of more than MOST_STEPS steps is run by machine code of this CPU. Where that has no answer, or
    finds other numbers, numpy decides.
    """

    def __init__(self, regions: Regions, target: Target, seed: int) -> None:
        self._regions = regions
        self._target = target
        graph = regions.graph
        exact = exact_probe(graph, seed)
        self._inputs = random_inputs(graph, seed) if exact is None else exact.given
        self._exact = {} if exact is None else exact.outputs

    def objection(self, config: Config) -> str:
        """Why `config` must not be published; empty when it breaks no rule and computes the right numbers."""
        failed = self.failure(config)
        return "" if failed is None else failed.reason

    def failure(self, config: Config) -> Measurement | None:
        """The failure of a Config that must not be published; None when there is none."""
        try:
            program = program_of(self._regions, config, self._target)
        except ConfigError as error:
            return failure(Status.INVALID, str(error))
        findings = verify_kernel(program, self._target)
        if findings:
            return failure(Status.INVALID, f"rule {findings[0].rule!r}: {findings[0].what}")
        wrong = self._wrong(
            KernelCall(as_its_own(self._regions.workload), program, CoreRange(0, program.cores))
        )
        return failure(Status.WRONG, wrong) if wrong else None

    def _wrong(self, call: KernelCall) -> str:
        """Which value is wrong, by how much and where."""
        graph = self._regions.graph
        if steps_of(call) > MOST_STEPS and self._is_right_by_machine_code(call):
            return ""
        memory, watched = dict(self._inputs), dict[int, Seen]()
        try:
            with np.errstate(all="ignore"):
                run_kernel(graph, call, memory, watched=watched)
        except VerifyError as error:
            return str(error)
        if self._exact:
            return self._not_bit_equal(memory)
        stored = {value: Seen.all_of(memory[value]) for value in graph.outputs}
        with np.errstate(all="ignore"):
            _, judged = judge_ops(call.kernel, self._inputs.__getitem__, watched, stored)
        wrong = (f"value {each.value} is {each.judgement}" for each in judged if not each.judgement.ok)
        return next(wrong, "")

    def _is_right_by_machine_code(self, call: KernelCall) -> bool:
        with NativeEvaluator() as native, np.errstate(all="ignore"):
            if self._exact:
                made = native(call, self._inputs)
                return made is not None and not self._not_bit_equal(made)
            return judge_natively(call, self._inputs.__getitem__, native) is not None

    def _not_bit_equal(self, memory: Mapping[int, Array]) -> str:
        for value in self._regions.graph.outputs:
            wrong = difference(memory[value], self._exact[value])
            if wrong:
                return f"value {value} is {wrong}"
        return ""


def random_inputs(graph: Graph, seed: int) -> Mapping[int, Array]:
    """Small random integers for every input, in its dtype; indices stay inside what they index.

    Where an op rounds, inputs other than factors of contractions are floats between 0.5 and 1.5: they may be
    divisors or lie under a root, and one undefined element would spoil a whole chain of ops.
    """
    rng = np.random.default_rng(seed)
    rounds = not all(op.row.exact for op in graph.ops)
    return {
        value: rng.uniform(0.5, 1.5, graph.shape(value)).astype(graph.values[value].dtype.numpy)
        if rounds and graph.values[value].dtype.is_float and not _is_factor(graph, value)
        else _random(graph, value, graph.values[value], rng)
        for value in graph.inputs
    }


def _is_factor(graph: Graph, value: int) -> bool:
    """Whether contractions only read a value."""
    return all(graph.ops[index].row.contraction for index in graph.readers.get(value, ()))


def _random(graph: Graph, value: int, kind: TensorType, rng: np.random.Generator) -> Array:
    shape = graph.shape(value)
    indexed = [
        graph.shape(access.value)[dim]
        for index in graph.readers.get(value, ())
        for access in graph.ops[index].operands
        for dim, expr in enumerate(access.exprs)
        if expr.source >= 0 and graph.ops[index].operands[expr.source].value == value
    ]
    if indexed:
        return rng.integers(0, max(1, min(indexed)), shape).astype(kind.dtype.numpy)
    low = 0 if kind.dtype.numpy.kind in "ub" else -SMALL
    return rng.integers(low, SMALL + 1, shape).astype(kind.dtype.numpy)


def steps_of(call: KernelCall) -> int:
    """Steps of the tiles of one kernel."""
    return call.program.parallel_tiles * call.program.serial_steps


def machine_code_for(graph: Graph, program: Program) -> AbstractContextManager[NativeEvaluator | None]:
    """What runs a network's kernels while it is checked; None where numpy takes no longer than compiling."""
    calls = [call for stage in program.stages for call in stage if isinstance(call, KernelCall)]
    much = graph.macs > MOST_MACS or sum(map(steps_of, calls)) > MOST_STEPS
    return NativeEvaluator() if much else nullcontext()


class NetworkCheck:
    """The verdict on Configs of a whole network."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._misread: dict[str, str] = {}

    def verified(self, config: Config) -> Verification:
        """Compile the network by `config`, run it on random data, and judge every value that it computes.

        Networks of more than MOST_MACS or MOST_STEPS are run by machine code of this CPU. Kernels that have
        none are run in numpy: of more than MOST_MACS, every distinct tile shape and a few tiles more.
        VerifyError when a rule is broken, a value is wrong, or the network as imported differs from its file:
        which value, by how much and where.
        """
        opened = self._opened
        built = opened.program_of(config)
        graph, program = built.graph, built.program
        require_sound(graph, program, opened.target)
        misread = self._misread_as(graph.rewrites)
        if misread:
            raise VerifyError(misread)
        sampled = graph.macs > MOST_MACS
        inputs = {**random_inputs(opened.graph, opened.seed), **_presumed(opened.model)}
        whole = True
        with machine_code_for(graph, program) as native:
            seed = opened.seed if sampled else None
            for each in judge_program(graph, program, inputs, sample_seed=seed, native=native):
                whole &= each.whole
                if not each.judgement.ok:
                    raise VerifyError(f"the program's {graph.name_of(each.value)} is {each.judgement}")
        return Verification.VALUE_EXACT if whole else Verification.SAMPLED

    def _misread_as(self, rewrites: Rewrites) -> str:
        """How the network with its ops in these forms differs in meaning from its file; computed once."""
        key = str({op: str(rewrite) for op, rewrite in rewrites.items()})
        if key not in self._misread:
            opened = self._opened
            wrong = judge_model(opened.model, draw_feeds(opened.model, opened.seed), rewrites).wrong
            name = "" if wrong is None else opened.graph.name_of(wrong.value)
            self._misread[key] = "" if wrong is None else f"{name} as imported is {wrong.judgement}"
        return self._misread[key]


def _presumed(model: ImportedModel) -> dict[int, Array]:
    """Inputs of a run with these extents, by value of the graph."""
    return {value: model.presumed[name] for name, value in model.inputs if name in model.presumed}


def sound(book: Book, check: NetworkCheck, config: Config) -> Verification | None:
    """The check of a Config of the whole network; None if it failed, which is recorded and
    reported.
    """
    try:
        return check.verified(config)
    except (CheckError, ModelError) as error:
        what = f"schedule {config.digest[:12]} of the network"
        book.refuse(what, None, config, failure(Status.WRONG, str(error)))
        return None
