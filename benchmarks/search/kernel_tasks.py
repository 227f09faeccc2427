"""The fixed kernel tasks of the search bench: kernels of well-known networks, built from shapes alone.

A `Case` is a kernel with its shape, a target, the number of the skewed chip it runs on, and sibling shapes of
the same network whose records may serve as a prior. Every constructor below builds one kernel. Its operands
are placed by one rule: activations that take at most a quarter of the LLB live there, others in DRAM.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.index_map import IndexExpr, affine, axis_index
from tilewright.compiler_core.ir.workload import Level, Workload, kernel_of
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.meaning.constants import run
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.measure.simulator.skew import skewed, skewed_conflicts
from tilewright.tuner.kernel.task import KernelTask

LLB_SHARE = 4
"""An activation lives in the LLB when this many of its size fit."""
Shape = Mapping[str, int]
Make = Callable[["KernelBuilder", Shape], Tensor]


class KernelBuilder(Builder):
    """A Builder that remembers which of its inputs are weights."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[Tensor] = []
        self.weights: set[int] = set()

    def activation(self, *shape: int) -> Tensor:
        """An operand that another kernel made."""
        self.read.append(self.new_value(shape, DType.F32))
        return self.read[-1]

    def weight(self, *shape: int) -> Tensor:
        """A constant operand."""
        tensor = self.activation(*shape)
        self.weights.add(tensor.value)
        return tensor

    def workload(self, root: Tensor, target: Target) -> Workload:
        """Everything built so far as one kernel that ends in `root`."""
        constants = {value: run(recipe, {}) for value, recipe in self.recipes.items()}
        inputs = tuple(tensor.value for tensor in self.read)
        graph = Graph(tuple(self.values), tuple(self.ops), inputs, (root.value,), constants)
        levels = dict.fromkeys((*self.weights, *constants), Level.CONSTANT)
        for value in (*inputs, root.value):
            size = graph.elements(value) * target.storage_dtype(DType.F32).bytes
            small = LLB_SHARE * size <= target.llb_bytes
            levels.setdefault(value, Level.LLB if small else Level.DRAM)
        return kernel_of(graph, range(len(self.ops)), levels).workload


def convolution(k: KernelBuilder, s: Shape) -> Tensor:
    """Convolution of `c` channels to `f`, bias and relu; `residual` adds a shortcut before the relu."""
    c, f = s["c"], s["f"]
    rows, columns = _windows(s, 5, 6)
    x = k.activation(1, c, s["h"], s["h"])
    if s.get("groups", 1) > 1:
        return _grouped(k, s, x)
    w = k.weight(f, c, s["k"], s["k"])
    made = k.op(
        "contract",
        (1, f, _out(s), _out(s), c, s["k"], s["k"]),
        [
            (x, (axis_index(0), axis_index(4), rows, columns), 0.0),
            (w, (axis_index(1), axis_index(4), axis_index(5), axis_index(6))),
        ],
        DType.F32,
        reduced=3,
    )
    made = k.elementwise("add", made, k.weight(1, f, 1, 1))
    if s.get("residual"):
        made = k.elementwise("add", made, k.activation(1, f, _out(s), _out(s)))
    return k.elementwise("relu", made)


def _grouped(k: KernelBuilder, s: Shape, x: Tensor) -> Tensor:
    """Axes (n, group, filter in group, y, x | channel in group, r, q): every index stays affine."""
    groups = s["groups"]
    filters, part = s["f"] // groups, s["c"] // groups
    w = k.weight(groups, filters, part, s["k"], s["k"])
    rows, columns = _windows(s, 6, 7, first=3)
    made = k.op(
        "contract",
        (1, groups, filters, _out(s), _out(s), part, s["k"], s["k"]),
        [
            (x, (axis_index(0), affine((1, part), (5, 1)), rows, columns), 0.0),
            (w, (axis_index(1), axis_index(2), axis_index(5), axis_index(6), axis_index(7))),
        ],
        DType.F32,
        reduced=3,
    )
    return k.elementwise("relu", k.elementwise("add", made, k.weight(1, groups, filters, 1, 1)))


def depthwise(k: KernelBuilder, s: Shape) -> Tensor:
    """Depthwise convolution, bias, relu6."""
    rows, columns = _windows(s, 4, 5)
    x, w = k.activation(1, s["c"], s["h"], s["h"]), k.weight(s["c"], s["k"], s["k"])
    made = k.op(
        "contract",
        (1, s["c"], _out(s), _out(s), s["k"], s["k"]),
        [
            (x, (axis_index(0), axis_index(1), rows, columns), 0.0),
            (w, (axis_index(1), axis_index(4), axis_index(5))),
        ],
        DType.F32,
        reduced=2,
    )
    made = k.elementwise("add", made, k.weight(1, s["c"], 1, 1))
    return k.elementwise("clip", made, low=0.0, high=6.0)


def max_pool(k: KernelBuilder, s: Shape) -> Tensor:
    """The maximum of every `k` x `k` window."""
    rows, columns = _windows(s, 4, 5)
    operand = (k.activation(1, s["c"], s["h"], s["h"]), (axis_index(0), axis_index(1), rows, columns))
    domain = (1, s["c"], _out(s), _out(s), s["k"], s["k"])
    return k.op("max", domain, [(*operand, float("-inf"))], DType.F32, reduced=2)


def global_average(k: KernelBuilder, s: Shape) -> Tensor:
    """The mean of every channel."""
    x = k.activation(1, s["c"], s["h"], s["h"])
    return k.with_number("mul", k.reduce("sum", x, (2, 3), keep=True), 1.0 / s["h"] ** 2)


def matmul(k: KernelBuilder, s: Shape) -> Tensor:
    """[m, k] times weights [k, n], bias; `gelu` in the tanh form, `residual` adds a shortcut."""
    made = _product(k, k.activation(s["m"], s["k"]), k.weight(s["k"], s["n"]))
    made = k.elementwise("add", made, k.weight(s["n"]))
    if s.get("residual"):
        made = k.elementwise("add", made, k.activation(s["m"], s["n"]))
    if s.get("gelu"):
        gate = k.elementwise("sigmoid", k.with_number("mul", made, 1.702))
        made = k.elementwise("mul", made, gate)
    return made


def _product(k: KernelBuilder, left: Tensor, right: Tensor) -> Tensor:
    (rows, depth), columns = left.shape, right.shape[1]
    operands = [(left, (axis_index(0), axis_index(2))), (right, (axis_index(2), axis_index(1)))]
    return k.op("contract", (rows, columns, depth), operands, DType.F32, reduced=1)


def scores(k: KernelBuilder, s: Shape) -> Tensor:
    """Queries times transposed keys of every head, scaled."""
    q, key = (k.activation(s["heads"], s["m"], s["d"]) for _ in range(2))
    operands = [
        (q, (axis_index(0), axis_index(1), axis_index(3))),
        (key, (axis_index(0), axis_index(2), axis_index(3))),
    ]
    made = k.op("contract", (s["heads"], s["m"], s["m"], s["d"]), operands, DType.F32, reduced=1)
    return k.with_number("mul", made, s["d"] ** -0.5)


def attention(k: KernelBuilder, s: Shape) -> Tensor:
    """Scores, softmax over whole rows, values: a chain of two contractions in one kernel."""
    weights = _softmax(k, scores(k, s))
    operands = [
        (weights, (axis_index(0), axis_index(1), axis_index(3))),
        (k.activation(s["heads"], s["m"], s["d"]), (axis_index(0), axis_index(3), axis_index(2))),
    ]
    return k.op("contract", (s["heads"], s["m"], s["d"], s["m"]), operands, DType.F32, reduced=1)


def softmax(k: KernelBuilder, s: Shape) -> Tensor:
    """Over the last dim of [heads, m, n]."""
    return _softmax(k, k.activation(s["heads"], s["m"], s["n"]))


def _softmax(k: KernelBuilder, x: Tensor) -> Tensor:
    last = (x.rank - 1,)
    powers = k.elementwise("exp", k.elementwise("sub", x, k.reduce("max", x, last, keep=True)))
    return k.elementwise("div", powers, k.reduce("sum", powers, last, keep=True))


def layer_norm(k: KernelBuilder, s: Shape) -> Tensor:
    """Over the last dim of [m, n], with scale and shift."""
    x = k.activation(s["m"], s["n"])
    centred = k.elementwise("sub", x, _mean(k, x))
    variance = _mean(k, k.elementwise("mul", centred, centred))
    deviation = k.elementwise("sqrt", k.with_number("add", variance, 1e-5))
    made = k.elementwise("mul", centred, k.elementwise("reciprocal", deviation))
    return k.elementwise("add", k.elementwise("mul", made, k.weight(s["n"])), k.weight(s["n"]))


def _mean(k: KernelBuilder, x: Tensor) -> Tensor:
    return k.elementwise("div", k.reduce("sum", x, (x.rank - 1,), keep=True), k.count(x.shape[-1:], x.dtype))


def _out(s: Shape) -> int:
    reach = s.get("dilation", 1) * (s["k"] - 1) + 1
    return (s["h"] + 2 * _pad(s) - reach) // s.get("stride", 1) + 1


def _pad(s: Shape) -> int:
    return s.get("dilation", 1) * (s["k"] // 2)


def _windows(s: Shape, r: int, q: int, first: int = 2) -> tuple[IndexExpr, IndexExpr]:
    """Index forms of the input's rows and columns, for output axes `first`, `first` + 1 and taps r, q."""
    stride, dilation, offset = s.get("stride", 1), s.get("dilation", 1), -_pad(s)
    return (
        affine((first, stride), (r, dilation), offset=offset),
        affine((first + 1, stride), (q, dilation), offset=offset),
    )


@dataclass(frozen=True)
class Case:
    """One kernel of a network on one target; `siblings` are shapes of other kernels of its kind."""

    name: str
    target: str
    make: Make
    shape: Shape
    siblings: Sequence[Shape]
    chip: int

    @property
    def key(self) -> str:
        """Target and kernel: what rows call the task."""
        return f"{self.target}/{self.name}"

    def task(self) -> KernelTask:
        """The search task; the same object every time, so that its tables are made once."""
        return _task(self.target, self.make, tuple(sorted(self.shape.items())))

    def sibling_tasks(self) -> list[KernelTask]:
        """Tasks of the sibling shapes on the same target."""
        return self.tasks_on(self.target)[1:]

    def tasks_on(self, target: str) -> list[KernelTask]:
        """Tasks of the kernel and of its siblings on any target."""
        return [_task(target, self.make, tuple(sorted(s.items()))) for s in (self.shape, *self.siblings)]

    def device(self, nominal: bool = False) -> SimulatedDevice:
        """The chip that measures: skewed unless `nominal`."""
        return SimulatedDevice(load_target(self.target)) if nominal else skewed_device(self.target, self.chip)


def skewed_device(target_name: str, chip: int) -> SimulatedDevice:
    """Skewed chip number `chip` of a target."""
    target = load_target(target_name)
    return SimulatedDevice(target, truth=skewed(target, chip), conflicts=skewed_conflicts(chip))


@cache
def _task(target_name: str, make: Make, shape: tuple[tuple[str, int], ...]) -> KernelTask:
    target, kernel = load_target(target_name), KernelBuilder()
    root = make(kernel, dict(shape))
    return KernelTask(Regions(kernel.workload(root, target)), target)


def _resnet(c: int, h: int, **more: int) -> Shape:
    return {"c": c, "f": c, "h": h, "k": 3, **more}


def _point(c: int, f: int, h: int, **more: int) -> Shape:
    return {"c": c, "f": f, "h": h, "k": 1, **more}


def _dense(m: int, k: int, n: int, **more: int) -> Shape:
    return {"m": m, "k": k, "n": n, **more}


def _heads(heads: int, m: int, d: int) -> Shape:
    return {"heads": heads, "m": m, "d": d}


def _depth(c: int, h: int, stride: int = 1, k: int = 3) -> Shape:
    return {"c": c, "h": h, "k": k, "stride": stride}


_STEM: Shape = {"c": 3, "f": 64, "h": 224, "k": 7, "stride": 2}
_TABLE: Mapping[str, Sequence[tuple[str, Make, Shape, Sequence[Shape]]]] = {
    "ascend910": (
        ("resnet50_stem", convolution, _STEM, ({**_STEM, "h": 192}, {**_STEM, "h": 160, "f": 96})),
        ("resnet50_3x3_56", convolution, _resnet(64, 56), (_resnet(128, 28), _resnet(256, 14))),
        (
            "resnext50_3x3_28",
            convolution,
            _resnet(256, 28, groups=32),
            (_resnet(128, 56, groups=32), _resnet(512, 14, groups=32)),
        ),
        (
            "mobilenet_v2_depthwise_112",
            depthwise,
            _depth(96, 112, 2),
            (_depth(144, 56), _depth(192, 28), _depth(32, 112)),
        ),
        (
            "bert_base_ffn",
            matmul,
            _dense(384, 768, 3072, gelu=1),
            (_dense(128, 768, 3072, gelu=1), _dense(384, 1024, 4096, gelu=1)),
        ),
        ("bert_base_attention", attention, _heads(12, 384, 64), (_heads(12, 128, 64), _heads(16, 256, 64))),
        (
            "gpt2_softmax",
            softmax,
            {"heads": 12, "m": 1024, "n": 1024},
            ({"heads": 12, "m": 512, "n": 512}, {"heads": 16, "m": 384, "n": 384}),
        ),
        (
            "bert_large_layer_norm",
            layer_norm,
            {"m": 512, "n": 1024},
            ({"m": 384, "n": 768}, {"m": 1024, "n": 1280}),
        ),
    ),
    "tpu_v4i": (
        (
            "resnet50_expand_residual_28",
            convolution,
            _point(128, 512, 28, residual=1),
            (_point(64, 256, 56, residual=1), _point(256, 1024, 14, residual=1)),
        ),
        (
            "deeplab_v3_dilated_33",
            convolution,
            _resnet(256, 33, dilation=6),
            (_resnet(256, 33, dilation=12), _resnet(128, 65, dilation=2)),
        ),
        (
            "gpt2_ffn",
            matmul,
            _dense(1024, 1024, 4096, gelu=1),
            (_dense(512, 1024, 4096, gelu=1), _dense(1024, 768, 3072, gelu=1)),
        ),
        ("vit_base_attention", attention, _heads(12, 197, 64), (_heads(12, 128, 64), _heads(16, 257, 64))),
        (
            "gpt2_layer_norm",
            layer_norm,
            {"m": 1024, "n": 1024},
            ({"m": 512, "n": 768}, {"m": 1024, "n": 1280}),
        ),
        (
            "resnet50_global_average",
            global_average,
            {"c": 2048, "h": 7},
            ({"c": 1024, "h": 14}, {"c": 1280, "h": 7}),
        ),
    ),
    "ethos_u55_256": (
        (
            "mobilenet_v2_expand_56",
            convolution,
            _point(24, 144, 56),
            (_point(32, 192, 28), _point(64, 384, 14)),
        ),
        ("mobilenet_v2_depthwise_56", depthwise, _depth(144, 56, 2), (_depth(192, 28), _depth(384, 14))),
        (
            "mobilenet_v1_stem",
            convolution,
            {"c": 3, "f": 32, "h": 224, "k": 3, "stride": 2},
            (
                {"c": 3, "f": 32, "h": 160, "k": 3, "stride": 2},
                {"c": 3, "f": 16, "h": 192, "k": 3, "stride": 2},
            ),
        ),
        (
            "yolo_tiny_3x3_26",
            convolution,
            {"c": 128, "f": 256, "h": 26, "k": 3},
            ({"c": 64, "f": 128, "h": 52, "k": 3}, {"c": 256, "f": 512, "h": 13, "k": 3}),
        ),
        (
            "mobilenet_v1_classifier",
            matmul,
            _dense(1, 1024, 1000),
            (_dense(1, 1280, 1000), _dense(1, 512, 256)),
        ),
        (
            "squeezenet_max_pool_55",
            max_pool,
            {"c": 128, "h": 55, "k": 3, "stride": 2},
            ({"c": 64, "h": 111, "k": 3, "stride": 2}, {"c": 256, "h": 27, "k": 3, "stride": 2}),
        ),
    ),
    "gemmini16": (
        ("resnet50_3x3_28", convolution, _resnet(128, 28), (_resnet(64, 56), _resnet(256, 14))),
        (
            "resnet50_reduce_14",
            convolution,
            _point(1024, 256, 14),
            (_point(512, 128, 28), _point(2048, 512, 7)),
        ),
        ("mobilenet_v1_depthwise_28", depthwise, _depth(256, 28), (_depth(128, 56), _depth(512, 14))),
        (
            "bert_tiny_projection",
            matmul,
            _dense(128, 768, 768, residual=1),
            (_dense(256, 512, 512, residual=1), _dense(64, 768, 768, residual=1)),
        ),
        ("bert_base_scores", scores, _heads(12, 128, 64), (_heads(8, 256, 64), _heads(12, 64, 64))),
        (
            "bert_base_softmax",
            softmax,
            {"heads": 12, "m": 128, "n": 128},
            ({"heads": 8, "m": 256, "n": 256}, {"heads": 12, "m": 64, "n": 64}),
        ),
    ),
}
CHIPS = 3
"""Skewed chips of every target; tasks take turns on them."""
CASES: tuple[Case, ...] = tuple(
    Case(name, target, make, shape, siblings, number % CHIPS)
    for target, rows in _TABLE.items()
    for number, (name, make, shape, siblings) in enumerate(rows)
)
QUICK = (
    "ascend910/resnet50_3x3_56",
    "tpu_v4i/gpt2_ffn",
    "ethos_u55_256/mobilenet_v2_depthwise_56",
    "gemmini16/bert_base_scores",
)
"""A minute's worth: one task a target."""
