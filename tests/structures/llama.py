"""Blocks of a Llama as exporters write them: in plain ops, in those of com.microsoft or of opset 23."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from tests.structures.network import MS, Network

EPSILON = 1e-5
FORMS = ("plain", "microsoft", "opset 23")


@dataclass(frozen=True)
class Llama:
    """Sizes of a network, and how it is written; `bits` packs the weights of the microsoft form."""

    form: str
    layers: int = 1
    hidden: int = 64
    heads: int = 4
    groups: int = 2
    size: int = 16
    inner: int = 96
    words: int = 50
    longest: int = 32
    bits: int = 0
    dtype: Any = np.float32

    def model(self) -> onnx.ModelProto:
        """From ids [batch, sequence], a mask and a past to logits and a present."""
        net = Network(opset=23 if self.form == "opset 23" else 21, dtype=self.dtype)
        ids = net.input("ids", ["batch", "sequence"], np.int64)
        mask = net.input("mask", ["batch", "total"], np.int64)
        positions = net.input("positions", ["batch", "sequence"], np.int64)
        shape: list[int | str] = ["batch", self.groups, "past", self.size]
        past = [
            (net.input(f"past.{index}.key", shape), net.input(f"past.{index}.value", shape))
            for index in range(self.layers)
        ]
        x = net.add("Gather", net.weight(self.words, self.hidden, scale=1.0), ids)
        writer: Any = {"plain": _Plain, "microsoft": _Microsoft, "opset 23": _Opset23}[self.form]
        block = writer(net, self, mask, positions)
        present: list[str] = []
        for cached in past:
            x, keys, values = block.layer(x, cached)
            present += [keys, values]
        last = block.last(x)
        logits = net.add("MatMul", last, net.weight(self.hidden, self.words))
        return net.model([logits, *present])


def angles(longest: int, width: int) -> tuple[Any, Any]:
    """Cosines and sines [longest, width / 2] of the rotary positions."""
    frequencies = 1 / 10000 ** (np.arange(0, width, 2) / width)
    turned = np.arange(longest)[:, None] * frequencies
    return np.cos(turned), np.sin(turned)


class _Form:
    """What all forms share: the net under construction, the sizes, the MLP."""

    def __init__(self, net: Network, sizes: Llama, mask: str, positions: str) -> None:
        self.net, self.sizes, self.mask, self.positions = net, sizes, mask, positions
        self.start()

    def start(self) -> None:
        """What is computed once for all layers."""

    def product(self, x: str, rows: int, columns: int) -> str:
        """x times a weight."""
        return self.net.add("MatMul", x, self.net.weight(rows, columns))

    def gated(self, x: str) -> str:
        """silu(x gate) * (x up), brought down again."""
        net, sizes = self.net, self.sizes
        gate, up = (self.product(x, sizes.hidden, sizes.inner) for _ in range(2))
        opened = net.add("Mul", gate, net.add("Sigmoid", gate))
        return self.product(net.add("Mul", opened, up), sizes.inner, sizes.hidden)

    def projected(self, x: str) -> list[str]:
        """Queries, keys and values, heads side by side."""
        sizes = self.sizes
        widths = [count * sizes.size for count in (sizes.heads, sizes.groups, sizes.groups)]
        return [self.product(x, sizes.hidden, width) for width in widths]

    def layer(self, x: str, past: tuple[str, str]) -> tuple[str, str, str]:
        """The layer's result, its keys and its values."""
        net, sizes = self.net, self.sizes
        y, keys, values = self.attended(self.normed(x), past)
        x = net.add("Add", x, self.product(y, sizes.heads * sizes.size, sizes.hidden))
        return net.add("Add", x, self.gated(self.normed(x))), keys, values

    def last(self, x: str) -> str:
        """What goes into the head."""
        return self.normed(x)

    def normed(self, x: str) -> str:
        """RMS normalization."""
        raise NotImplementedError

    def attended(self, x: str, past: tuple[str, str]) -> tuple[str, str, str]:
        """Attention of normed x behind the past: result before its projection, keys, values."""
        raise NotImplementedError


class _Plain(_Form):
    """As a tracer writes it: shapes computed, angles computed, keys repeated, a mask built."""

    def start(self) -> None:
        net, sizes = self.net, self.sizes
        frequencies = 1 / 10000 ** (np.arange(0, sizes.size, 2) / sizes.size)
        row = net.constant(frequencies.reshape(1, 1, -1), np.float32)
        places = net.add("Unsqueeze", self.positions, net.integers(2))
        half = net.add("Mul", net.add("Cast", places, to=onnx.TensorProto.FLOAT), row)
        whole = net.add("Unsqueeze", net.add("Concat", half, half, axis=2), net.integers(1))
        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(sizes.dtype))
        self.cosines, self.sines = (net.add("Cast", net.add(op, whole), to=kind) for op in ("Cos", "Sin"))
        shape = net.add("Shape", self.positions)
        self.batch, self.sequence = (net.add("Gather", shape, net.integers(index)) for index in range(2))
        self.masked = self._mask()

    def _mask(self) -> str:
        """[batch, 1, sequence, total]: the lowest number where a key is ahead of a query or padding."""
        net = self.net
        total = net.add("Gather", net.add("Shape", self.mask), net.integers(1))
        past = net.add("Sub", total, self.sequence)
        zero, one = net.constant(0, np.int64), net.constant(1, np.int64)
        ends = net.add("Squeeze", total, net.integers(0))
        keys = net.add("Range", zero, ends, one)
        rows = net.add("Range", net.add("Squeeze", past, net.integers(0)), ends, one)
        ahead = net.add("Greater", keys, net.add("Unsqueeze", rows, net.integers(1)))
        padding = net.add("Not", net.add("Cast", self.mask, to=onnx.TensorProto.BOOL))
        hidden = net.add("Or", ahead, net.add("Unsqueeze", padding, net.integers(1, 2)))
        lowest = net.constant(np.finfo(self.sizes.dtype).min, self.sizes.dtype)
        return net.add("Where", hidden, lowest, net.constant(0, self.sizes.dtype))

    def normed(self, x: str) -> str:
        net = self.net
        wide = net.add("Cast", x, to=onnx.TensorProto.FLOAT)
        squares = net.add("Pow", wide, net.constant(2.0, np.float32))
        spread = net.add("ReduceMean", squares, net.integers(-1), keepdims=1)
        root = net.add("Sqrt", net.add("Add", spread, net.constant(EPSILON, np.float32)))
        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(self.sizes.dtype))
        y = net.add("Cast", net.add("Mul", wide, net.add("Reciprocal", root)), to=kind)
        return net.add("Mul", net.norm(self.sizes.hidden), y)

    def _heads(self, x: str, count: int) -> str:
        net = self.net
        shape = net.add(
            "Concat", self.batch, self.sequence, net.integers(count), net.integers(self.sizes.size), axis=0
        )
        return net.add("Transpose", net.add("Reshape", x, shape), perm=[0, 2, 1, 3])

    def _turned(self, x: str) -> str:
        net, half = self.net, self.sizes.size // 2
        ends = [net.integers(index) for index in (0, half, 1 << 40)]
        low, high = (net.add("Slice", x, ends[index], ends[index + 1], net.integers(3)) for index in range(2))
        swapped = net.add("Concat", net.add("Neg", high), low, axis=3)
        return net.add("Add", net.add("Mul", x, self.cosines), net.add("Mul", swapped, self.sines))

    def _repeated(self, x: str) -> str:
        net, sizes = self.net, self.sizes
        times = sizes.heads // sizes.groups
        shape = net.add("Shape", x)
        length = net.add("Slice", shape, net.integers(2), net.integers(3))
        wide = net.add("Unsqueeze", x, net.integers(2))
        size = net.integers(sizes.size)
        parts = [self.batch, net.integers(sizes.groups), net.integers(times), length, size]
        spread = net.add("Expand", wide, net.add("Concat", *parts, axis=0))
        parts = [self.batch, net.integers(sizes.heads), length, size]
        return net.add("Reshape", spread, net.add("Concat", *parts, axis=0))

    def attended(self, x: str, past: tuple[str, str]) -> tuple[str, str, str]:
        net, sizes = self.net, self.sizes
        counts = (sizes.heads, sizes.groups, sizes.groups)
        q, k, v = (self._heads(part, count) for part, count in zip(self.projected(x), counts, strict=True))
        q, k = self._turned(q), self._turned(k)
        keys, values = (net.add("Concat", old, new, axis=2) for old, new in zip(past, (k, v), strict=True))
        turned = net.add("Transpose", self._repeated(keys), perm=[0, 1, 3, 2])
        scores = net.add("MatMul", q, turned)
        scores = net.add("Div", scores, net.constant(np.sqrt(sizes.size), sizes.dtype))
        weights = net.add("Softmax", net.add("Add", scores, self.masked), axis=-1)
        y = net.add("Transpose", net.add("MatMul", weights, self._repeated(values)), perm=[0, 2, 1, 3])
        shape = net.add("Concat", self.batch, self.sequence, net.integers(sizes.heads * sizes.size), axis=0)
        return net.add("Reshape", y, shape), keys, values


class _Microsoft(_Form):
    """As a model builder writes it: norms of sums, grouped queries, weights of few bits."""

    def start(self) -> None:
        net = self.net
        total = net.add("ReduceSum", self.mask, net.integers(1), keepdims=0)
        last = net.add("Sub", total, net.constant(1, np.int64))
        self.ends = net.add("Cast", last, to=onnx.TensorProto.INT32)
        whole = net.add("Gather", net.add("Shape", self.mask), net.constant(1, np.int64))
        self.whole = net.add("Cast", whole, to=onnx.TensorProto.INT32)
        tables = angles(self.sizes.longest, self.sizes.size)
        self.tables = [net.constant(table, self.sizes.dtype) for table in tables]
        self.sum = ""

    def product(self, x: str, rows: int, columns: int) -> str:
        net, bits = self.net, self.sizes.bits
        if not bits:
            return super().product(x, rows, columns)
        chance = np.random.default_rng(len(net.nodes))
        packed = chance.integers(0, 256, (columns, rows // 32, 32 * bits // 8)).astype(np.uint8)
        spread = 2.0 / (1 << bits) / np.sqrt(rows)
        scales = spread * chance.uniform(0.5, 1.5, (columns, rows // 32))
        given = [x, net.constant(packed), net.constant(scales, self.sizes.dtype)]
        return net.add("MatMulNBits", *given, domain=MS, K=rows, N=columns, bits=bits, block_size=32)

    def _norm(self, x: str, skip: str) -> str:
        """The norm of x + skip; the sum is kept for the next."""
        net, factors = self.net, self.net.norm(self.sizes.hidden)
        if not skip:
            self.sum = x
            return net.add("SimplifiedLayerNormalization", x, factors, epsilon=EPSILON, axis=-1, stash_type=1)
        y, _, _, self.sum = net.several(
            "SkipSimplifiedLayerNormalization",
            self.sum,
            skip,
            factors,
            domain=MS,
            outputs=[True, False, False, True],
            epsilon=EPSILON,
        )
        return y

    def layer(self, x: str, past: tuple[str, str]) -> tuple[str, str, str]:
        sizes = self.sizes
        normed = self._norm(x, "" if not self.sum else x)
        y, keys, values = self.attended(normed, past)
        normed = self._norm("", self.product(y, sizes.heads * sizes.size, sizes.hidden))
        return self.gated(normed), keys, values

    def last(self, x: str) -> str:
        return self._norm("", x)

    def attended(self, x: str, past: tuple[str, str]) -> tuple[str, str, str]:
        sizes = self.sizes
        given = [*self.projected(x), *past, self.ends, self.whole, *self.tables]
        y, keys, values = self.net.several(
            "GroupQueryAttention",
            *given,
            domain=MS,
            outputs=3,
            num_heads=sizes.heads,
            kv_num_heads=sizes.groups,
            do_rotary=1,
        )
        return y, keys, values


class _Opset23(_Form):
    """With the standard's own norms, rotary embeddings and attention."""

    def start(self) -> None:
        net = self.net
        tables = angles(self.sizes.longest, self.sizes.size)
        self.tables = [net.constant(table, self.sizes.dtype) for table in tables]

    def normed(self, x: str) -> str:
        return self.net.add("RMSNormalization", x, self.net.norm(self.sizes.hidden), epsilon=EPSILON)

    def attended(self, x: str, past: tuple[str, str]) -> tuple[str, str, str]:
        net, sizes = self.net, self.sizes
        q, k, v = self.projected(x)
        q, k = (
            net.add("RotaryEmbedding", part, *self.tables, self.positions, num_heads=count)
            for part, count in ((q, sizes.heads), (k, sizes.groups))
        )
        heads: Any = {"q_num_heads": sizes.heads, "kv_num_heads": sizes.groups}
        y, keys, values = net.several("Attention", q, k, v, "", *past, outputs=3, is_causal=1, **heads)
        return y, keys, values


def llamas() -> Sequence[tuple[str, Llama]]:
    """A small one of every form."""
    return [
        *((form, Llama(form)) for form in FORMS),
        ("microsoft, 4 bits", Llama("microsoft", bits=4)),
        ("plain, two layers", Llama("plain", layers=2)),
        ("microsoft, two layers", Llama("microsoft", layers=2)),
        *((f"{form}, f16", Llama(form, dtype=np.float16)) for form in ("microsoft", "opset 23")),
    ]
