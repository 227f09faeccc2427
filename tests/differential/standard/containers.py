"""Sequences and optionals whose structure is constant: made, changed, and taken apart again."""

from collections.abc import Mapping

import numpy as np

from tests.differential.standard.net import Net, NoFormError, Step, Value, axis_of


def _sequence(net: Net) -> Value:
    """The results of the last node, a sequence."""
    (name,) = net.nodes[-1].output
    return Value(name, (), np.dtype(np.float32))


def _taken(net: Net, sequence: Value, count: int, axis: int) -> None:
    """A tensor of a sequence of `count` elements that differ in extent of `axis` alone."""
    how = net.draw.one_of(["at", "concat", "length"])
    if how == "at":
        net.add("SequenceAt", [sequence, net.hold(net.draw.size(-count, count - 1))])
    elif how == "concat":
        net.add("ConcatFromSequence", [sequence], axis=axis)
    else:
        net.add("SequenceLength", [sequence])


def _split_sequence(net: Net) -> None:
    x = net.ranked("Split", 1, 4, [np.float32, np.int64])
    axis = axis_of(net, x)
    extent = x.shape[axis]
    how = net.draw.one_of(["one", "size", "sizes"])
    if how == "sizes":
        first = net.draw.size(1, extent)
        sizes = [first, extent - first] if extent > first else [first]
        net.add("SplitToSequence", [x, net.hold(sizes)], axis=axis)
        count = len(sizes)
    elif how == "size":
        size = net.draw.size(1, extent)
        net.add("SplitToSequence", [x, net.hold(size)], axis=axis)
        count = -(-extent // size)
    else:
        net.add("SplitToSequence", [x], axis=axis)
        count = extent
    _taken(net, _sequence(net), count, axis)


def _built_sequence(net: Net) -> None:
    x = net.ranked("Concat", 1, 3, [np.float32, np.int64])
    axis = axis_of(net, x)
    parts = [x]
    for _ in range(net.draw.size(0, 2)):
        shape = list(x.shape)
        shape[axis] = net.draw.size(1, 4)
        parts.append(net.either(net.numbers(shape, x.dtype)))
    net.add("SequenceConstruct", parts)
    count = len(parts)
    if net.draw.flag():
        place = net.hold(net.draw.size(-count, count)) if net.draw.flag(0.7) else None
        net.add("SequenceInsert", [_sequence(net), x, place])
        count += 1
    if count > 1 and net.draw.flag():
        place = net.hold(net.draw.size(-count, count - 1)) if net.draw.flag(0.7) else None
        net.add("SequenceErase", [_sequence(net), place])
        count -= 1
    _taken(net, _sequence(net), count, axis)


def _stacked(net: Net) -> None:
    x = net.ranked("Concat", 1, 3, [np.float32, np.int64])
    parts = [x, *(net.either(net.numbers(x.shape, x.dtype)) for _ in range(net.draw.size(0, 2)))]
    net.add("SequenceConstruct", parts)
    net.add("ConcatFromSequence", [_sequence(net)], axis=net.draw.size(-x.rank - 1, x.rank), new_axis=1)


def _optional(net: Net) -> None:
    if net.opset < 18:
        raise NoFormError
    x = net.ranked("Concat", 1, 3, [np.float32, np.int64])
    net.add("Optional", [x])
    net.add(net.draw.one_of(["OptionalHasElement", "OptionalGetElement"]), [_sequence(net)])


CONTAINERS: Mapping[str, Step] = {
    "Optional": _optional,
    "SequenceConstruct": _built_sequence,
    "SplitToSequence": _split_sequence,
    "Stack": _stacked,
}
