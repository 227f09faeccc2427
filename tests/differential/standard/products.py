"""Sums of products, normalizations, and what is built on them."""

from collections.abc import Mapping

import numpy as np

from tests.differential.standard.net import Net, NoFormError, Step, axis_of, broadcasting

REALS = (np.float32, np.float32, np.float32, np.float64, np.float16)
EQUATIONS = (
    ("ij,jk->ik", 2), ("bij,bjk->bik", 3), ("ij->ji", 2), ("ij,ij->", 2), ("bhqd,bhkd->bhqk", 4),
    ("i,j->ij", 1),
    ("...ij,...jk->...ik", 3), ("bij->bj", 3), ("ii->i", 2), ("bij,jk,bk->bi", 3), ("ij,ik", 2),
)  # fmt: skip


def _matmul(net: Net) -> None:
    x = net.ranked("MatMul", 1, 4, REALS)
    batch = broadcasting(net, x.shape[:-2])
    if x.rank == 1:
        shape = net.draw.one_of([(x.shape[0],), (x.shape[0], net.draw.size(1, 5))])
    else:
        shape = net.draw.one_of([(x.shape[-1],), (*batch, x.shape[-1], net.draw.size(1, 5))])
    net.add("MatMul", [x, net.either(net.numbers(shape, x.dtype))])


def _gemm(net: Net) -> None:
    x = net.ranked("Gemm", 2, 2, REALS)
    turns = net.draw.size(0, 1), net.draw.size(0, 1)
    rows, inner = (x.shape[1], x.shape[0]) if turns[0] else x.shape
    columns = net.draw.size(1, 5)
    right = net.either(net.numbers((columns, inner) if turns[1] else (inner, columns), x.dtype))
    shape = net.draw.one_of([(columns,), (rows, columns), (1, columns), (rows, 1), ()])
    bias = net.either(net.numbers(shape, x.dtype)) if net.draw.flag(0.7) else None
    factors = {"alpha": 0.5, "beta": 2.0} if net.draw.flag(0.3) else {}
    net.add("Gemm", [x, right, bias], transA=turns[0], transB=turns[1], **factors)


def _einsum(net: Net) -> None:
    if net.opset < 12:
        raise NoFormError
    equation, rank = net.draw.one_of(EQUATIONS)
    terms = equation.split("->")[0].replace("...", "z").split(",")
    sizes = {letter: net.draw.size(1, 4) for letter in "".join(terms)}
    if net.given is not None:
        if net.given.rank != rank or len(terms[0]) != rank:
            raise NoFormError
        known: dict[str, int] = {}
        for letter, extent in zip(terms[0], net.given.shape, strict=True):
            if known.setdefault(letter, extent) != extent:
                raise NoFormError
        sizes |= known
    shapes = [tuple(sizes[letter] for letter in term) for term in terms]
    x = net.first("Einsum", shapes[0], [np.float32, np.float64])
    rest = [net.either(net.numbers(shape, x.dtype)) for shape in shapes[1:]]
    net.add("Einsum", [x, *rest], equation=equation)


def _matmul_integer(net: Net) -> None:
    x = net.ranked("MatMulInteger", 2, 3)
    right = net.either(
        net.numbers((x.shape[-1], net.draw.size(1, 4)), net.draw.one_of([np.uint8, np.int8])), 0.7
    )
    zeros = [net.hold(net.draw.size(0, 5), value.dtype) if net.draw.flag() else None for value in (x, right)]
    net.add("MatMulInteger", [x, right, *zeros])


def _det(net: Net) -> None:
    size = net.draw.size(1, 4)
    x = net.first("Det", (*net.shape(0, 1), size, size), [np.float32])
    net.tolerance = 1e-3
    net.add("Det", [x])


def _batch_normalization(net: Net) -> None:
    x = net.ranked("BatchNormalization", 2, 5, [np.float32])
    vectors = [net.either(net.draw.positive(x.shape[1])) for _ in range(4)]
    net.add("BatchNormalization", [x, *vectors], epsilon=net.draw.one_of([1e-5, 1e-2]))


def _instance_normalization(net: Net) -> None:
    x = net.ranked("InstanceNormalization", 3, 5, [np.float32])
    vectors = [net.either(net.draw.positive(x.shape[1])) for _ in range(2)]
    net.add("InstanceNormalization", [x, *vectors])


def _layer_normalization(net: Net) -> None:
    if net.opset < 17:
        raise NoFormError
    x = net.ranked("LayerNormalization", 1, 4, [np.float32, np.float32, np.float64])
    axis = axis_of(net, x)
    vectors = [net.either(net.numbers(x.shape[axis:], x.dtype)) for _ in range(net.draw.size(1, 2))]
    net.add("LayerNormalization", [x, *vectors], axis=axis, epsilon=1e-2)


def _rms_normalization(net: Net) -> None:
    if net.opset < 23:
        raise NoFormError
    x = net.ranked("RMSNormalization", 1, 4, [np.float32])
    axis = axis_of(net, x)
    net.add(
        "RMSNormalization", [x, net.either(net.numbers(x.shape[axis:], x.dtype))], axis=axis, epsilon=1e-2
    )


def _group_normalization(net: Net) -> None:
    if net.opset < 21:
        raise NoFormError
    groups = net.draw.size(1, 3)
    if net.given is not None:
        if net.given.rank < 3 or net.given.shape[1] % groups:
            raise NoFormError
        x = net.first("GroupNormalization", dtypes=[np.float32])
    else:
        shape = (net.draw.size(1, 2), groups * net.draw.size(1, 3), *net.shape(1, 2))
        x = net.first("GroupNormalization", shape, [np.float32])
    vectors = [net.either(net.numbers((x.shape[1],), x.dtype)) for _ in range(2)]
    net.add("GroupNormalization", [x, *vectors], num_groups=groups, epsilon=1e-2)


def _rotary(net: Net) -> None:
    if net.opset < 23 or net.given is not None:
        raise NoFormError
    batch, heads, length, half = (net.draw.size(1, 3) for _ in range(4))
    flat = net.draw.flag(0.4)
    shape = (batch, length, heads * 2 * half) if flat else (batch, heads, length, 2 * half)
    x = net.first("RotaryEmbedding", shape, [np.float32])
    partial = net.draw.flag(0.3) and half > 1 and not flat
    width = half - 1 if partial else half
    positions = net.draw.flag()
    table = (length + 2, width) if positions else (batch, length, width)
    tables = [net.either(net.numbers(table, np.float32)) for _ in range(2)]
    places = net.feed(net.draw.integers(0, length + 1, (batch, length), np.int64)) if positions else None
    attributes = {"num_heads": heads} if flat else {}
    if partial:
        attributes["rotary_embedding_dim"] = 2 * width
    net.add("RotaryEmbedding", [x, *tables, places], interleaved=net.draw.size(0, 1), **attributes)


def _loss(op_type: str) -> Step:
    def step(net: Net) -> None:
        x = net.ranked(op_type, 2, 4, [np.float32, np.float64])
        classes = x.shape[1]
        labels = net.draw.integers(0, classes - 1, (x.shape[0], *x.shape[2:]), np.int64)
        ignored = {"ignore_index": 0} if net.draw.flag(0.3) else {}
        if (labels == 0).all() and ignored:
            raise NoFormError  # a mean over nothing
        weights = net.either(net.draw.positive(classes, dtype=x.dtype)) if net.draw.flag() else None
        how = net.draw.one_of(["none", "mean", "sum"])
        outputs = net.draw.size(1, 2) if op_type == "SoftmaxCrossEntropyLoss" else 1
        net.add(op_type, [x, net.feed(labels), weights], outputs=outputs, reduction=how, **ignored)

    return step


PRODUCTS: Mapping[str, Step] = {
    "BatchNormalization": _batch_normalization,
    "Det": _det,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "GroupNormalization": _group_normalization,
    "InstanceNormalization": _instance_normalization,
    "LayerNormalization": _layer_normalization,
    "MatMul": _matmul,
    "MatMulInteger": _matmul_integer,
    "NegativeLogLikelihoodLoss": _loss("NegativeLogLikelihoodLoss"),
    "RMSNormalization": _rms_normalization,
    "RotaryEmbedding": _rotary,
    "SoftmaxCrossEntropyLoss": _loss("SoftmaxCrossEntropyLoss"),
}
