"""MatMul, Gemm and Einsum: sums of products with transposes and batches in the index maps."""

from collections.abc import Mapping, Sequence

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import IndexExpr, axis_index
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor, aligned
from tilewright.compiler_core.onnx_import.building.context import Build, Context, Inputs, optional, required
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.operators.quantized_contraction import dequantized, quantized_pair

MAX_EINSUM_OPERANDS = 16


def matmul(
    builder: Builder,
    left: Tensor,
    right: Tensor,
    *,
    transpose_left: bool = False,
    transpose_right: bool = False,
    dtype: DType | None = None,
) -> Tensor:
    """numpy.matmul of two tensors, the last two dims of either exchanged first where asked."""
    if not left.rank or not right.rank:
        raise ModelError("a matrix product takes no scalars")
    if left.dtype is not right.dtype and dtype is None:
        raise ModelError(f"operand types {left.dtype} and {right.dtype} differ")
    row_vector, column_vector = left.rank == 1, right.rank == 1
    k_left = left.rank - 1 if row_vector or not transpose_left else left.rank - 2
    k_right = 0 if column_vector else (right.rank - 1 if transpose_right else right.rank - 2)
    inner = builder.equal(left.shape[k_left], right.shape[k_right], "inner dimensions of the matrix product")
    batch = builder.broadcast([left.shape[:-2], right.shape[:-2]])
    rank = len(batch)
    rows = [] if row_vector else [left.shape[left.rank - 1 if transpose_left else left.rank - 2]]
    columns = [] if column_vector else [right.shape[right.rank - 2 if transpose_right else right.rank - 1]]
    domain: list[Dim] = [*batch, *rows, *columns, inner]
    k = axis_index(len(domain) - 1)
    m = [axis_index(rank)] * len(rows)
    n = [axis_index(rank + len(rows))] * len(columns)
    left_exprs = [*aligned(left.shape[:-2], batch), *([k, *m] if transpose_left else [*m, k])]
    right_exprs = [*aligned(right.shape[:-2], batch), *([*n, k] if transpose_right else [k, *n])]
    return builder.op(
        "contract", domain, [(left, left_exprs), (right, right_exprs)], dtype or left.dtype, reduced=1
    )


def _matmul(context: Context, node: Node, inputs: Inputs) -> Tensor:
    left, right = required(inputs, 0), required(inputs, 1)
    if right.rank == 2 and left.rank >= 2:
        pair = quantized_pair(context, left, right, output_dim=1)
        if pair is not None:
            sums = matmul(context.builder, pair.left, pair.right, dtype=DType.I32)
            return dequantized(context, pair, sums, None, channel_dim=sums.rank - 1)
    return matmul(context.builder, left, right)


def fused_matmul(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """com.microsoft FusedMatMul: transposes and a factor around a matrix product."""
    left, right = (
        _batch_first(context.builder, required(inputs, index))
        if node.integer(name, 0)
        else required(inputs, index)
        for index, name in enumerate(("transBatchA", "transBatchB"))
    )
    product = matmul(
        context.builder,
        left,
        right,
        transpose_left=bool(node.integer("transA", 0)),
        transpose_right=bool(node.integer("transB", 0)),
    )
    alpha = node.number("alpha", 1.0)
    return product if alpha == 1.0 else context.builder.with_number("mul", product, alpha)


def _batch_first(builder: Builder, x: Tensor) -> Tensor:
    """[m, batch.., n] as [batch.., m, n]."""
    if x.rank < 3:
        raise ModelError(f"an operand of rank {x.rank} has no batch to transpose")
    return builder.transpose(x, (*range(1, x.rank - 1), 0, x.rank - 1))


def _gemm(context: Context, node: Node, inputs: Inputs) -> Tensor:
    builder = context.builder
    left, right, bias = required(inputs, 0), required(inputs, 1), optional(inputs, 2)
    if node.version < 7:
        left = left if left.rank == 2 else builder.reshape(left, _flattened(left))
    if left.rank != 2 or right.rank != 2:
        raise ModelError(f"operands have ranks {left.rank} and {right.rank}; both must be matrices")
    turn_left, turn_right = bool(node.integer("transA", 0)), bool(node.integer("transB", 0))
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    if alpha == 1.0 and beta == 1.0:
        pair = quantized_pair(context, left, right, output_dim=0 if turn_right else 1)
        if pair is not None:
            sums = matmul(
                builder,
                pair.left,
                pair.right,
                transpose_left=turn_left,
                transpose_right=turn_right,
                dtype=DType.I32,
            )
            return dequantized(context, pair, sums, bias, channel_dim=1)
    product = matmul(builder, left, right, transpose_left=turn_left, transpose_right=turn_right)
    if alpha != 1.0:
        product = builder.with_number("mul", product, alpha)
    if bias is None or beta == 0.0:
        return product
    if beta != 1.0:
        bias = builder.with_number("mul", bias, beta)
    if bias.rank > 2:
        raise ModelError(f"C has rank {bias.rank}; it must broadcast to a matrix")
    return builder.elementwise("add", product, bias)


def _flattened(x: Tensor) -> tuple[Dim, Dim]:
    rest: Dim = 1
    for extent in x.shape[1:]:
        rest = rest * extent
    return x.shape[0], rest


def _einsum(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """Any Einsum, operands contracted pairwise from the left; a letter is summed at its last pair."""
    builder = context.builder
    tensors = [required(inputs, index) for index in range(len(inputs))]
    if len(tensors) > MAX_EINSUM_OPERANDS:
        raise ModelError(f"{len(tensors)} operands, above the limit of {MAX_EINSUM_OPERANDS}")
    terms, result = _equation(node.text("equation"), tensors)
    extents: dict[str, Dim] = {}
    for tensor, term in zip(tensors, terms, strict=True):
        for letter, extent in zip(term, tensor.shape, strict=True):
            known = extents.get(letter, 1)
            extents[letter] = (
                extent
                if known == 1
                else (known if extent == 1 else builder.equal(known, extent, f"extents of {letter!r}"))
            )
    missing = [letter for letter in result if letter not in extents]
    if missing:
        raise ModelError(f"result letter {missing[0]!r} is in no operand")
    total, term = tensors[0], terms[0]
    if len(tensors) == 1:
        return _summed(builder, total, term, result, extents)
    for index in range(1, len(tensors)):
        later = set(result).union(*terms[index + 1 :])
        kept = result if index == len(tensors) - 1 else _letters(term + terms[index], later)
        summed = [letter for letter in _letters(term + terms[index], None) if letter not in kept]
        order = [*kept, *summed]
        total = builder.op(
            "contract",
            [extents[letter] for letter in order],
            [
                (total, _letter_exprs(total, term, order, extents)),
                (tensors[index], _letter_exprs(tensors[index], terms[index], order, extents)),
            ],
            total.dtype,
            reduced=len(summed),
        )
        term = kept
    return total


def _summed(
    builder: Builder, x: Tensor, term: Sequence[str], result: Sequence[str], extents: Mapping[str, Dim]
) -> Tensor:
    summed = [letter for letter in _letters(term, None) if letter not in result]
    order = [*result, *summed]
    exprs = _letter_exprs(x, term, order, extents)
    domain = [extents[letter] for letter in order]
    if not summed:
        return builder.view(x, domain, exprs)
    return builder.op("sum", domain, [(x, exprs)], x.dtype, reduced=len(summed))


def _letters(term: Sequence[str], among: set[str] | None) -> list[str]:
    return [letter for letter in dict.fromkeys(term) if among is None or letter in among]


def _letter_exprs(
    tensor: Tensor, term: Sequence[str], order: Sequence[str], extents: Mapping[str, Dim]
) -> list[IndexExpr]:
    return [
        IndexExpr() if extent == 1 and extents[letter] != 1 else axis_index(order.index(letter))
        for letter, extent in zip(term, tensor.shape, strict=True)
    ]


def _equation(equation: str, tensors: Sequence[Tensor]) -> tuple[list[list[str]], list[str]]:
    """Letters of each operand and of the result; an ellipsis becomes letters '0', '1', ... from the right."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    if len(parts) != len(tensors):
        raise ModelError(f"equation {equation!r} has {len(parts)} terms for {len(tensors)} operands")
    dots = 0
    terms: list[list[str]] = []
    for part, tensor in zip(parts, tensors, strict=True):
        head, ellipsis, tail = part.partition("...")
        hidden = tensor.rank - len(head) - len(tail)
        if (not (head + tail).isalpha() and head + tail) or hidden < 0 or (hidden and not ellipsis):
            raise ModelError(f"term {part!r} of equation {equation!r} does not fit rank {tensor.rank}")
        dots = max(dots, hidden)
        terms.append([*head, *[str(index) for index in reversed(range(hidden))], *tail])
    dotted = [str(index) for index in reversed(range(dots))]
    if arrow:
        head, ellipsis, tail = right.partition("...")
        if (not (head + tail).isalpha() and head + tail) or len(set(head + tail)) != len(head + tail):
            raise ModelError(f"the result of equation {equation!r} is not a list of distinct letters")
        return terms, [*head, *(dotted if ellipsis else []), *tail]
    every = [letter for term in terms for letter in term if letter.isalpha()]
    return terms, [*dotted, *sorted(letter for letter in set(every) if every.count(letter) == 1)]


CONTRACTIONS: Mapping[str, Build] = {"Einsum": _einsum, "Gemm": _gemm, "MatMul": _matmul}
