"""Spaces from T1 files, the autotuning community's JSON description of a kernel's tunable parameters.

Constraints and value lists are Python expressions written by strangers. They are parsed to a syntax tree, and
a whitelist of its nodes becomes numpy operations over whole columns: nothing is ever evaluated as code.
Source of the format: the FAIR auto-tuning benchmark hub and Kernel Tuner's T1 schema (MIT).
"""

import ast
import json
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.files.inputs import open_regular
from tilewright.search_space.knobs import Knob, KnobValue, Rows
from tilewright.search_space.space import Space

Columns: TypeAlias = Mapping[str, npt.NDArray[Any]]
Term: TypeAlias = Callable[[Columns], Any]

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: np.true_divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod,
    ast.Pow: np.float_power,
    ast.BitAnd: np.bitwise_and,
    ast.BitOr: np.bitwise_or,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": lambda *terms: reduce(np.minimum, terms),
    "max": lambda *terms: reduce(np.maximum, terms),
    "abs": np.abs,
    "int": np.trunc,
    "float": np.float64,
}
_OF_TRUTHS = (ast.BitAnd, ast.BitOr)
"""Operators under which two truths stay truths; under all others they count as 0 and 1."""
_MAX_TEXT = 20_000
_MAX_VALUES = 100_000


def load_t1(path: Path) -> Space:
    """The Space of a T1 JSON file; ConfigError names the file and the mistake."""
    try:
        with open_regular(path) as file:
            document = json.loads(file.read().decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"space file {path.name} cannot be read as JSON: {error}") from None
    return space_from_t1(document)


def space_from_t1(document: Any) -> Space:
    """The Space of a parsed T1 document. Knobs keep the file's order, numbers are sorted."""
    try:
        section = document["ConfigurationSpace"]
        knobs = tuple(_knob(entry) for entry in section["TuningParameters"])
        texts = tuple(_condition_text(entry) for entry in section.get("Conditions") or ())
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"T1 document lacks or misplaces {error}; see the T1 schema") from None
    names = {knob.name for knob in knobs}
    rule = _Conditions(
        knobs, tuple(_Condition(parse_condition(text, names), _last(text, knobs)) for text in texts)
    )
    return Space(knobs=knobs, feasible=rule, rules="\n".join(texts), begins=rule.begins)


def parse_condition(text: str, names: set[str]) -> Term:
    """A condition over knob `names` as a function from columns to booleans; ConfigError where unclear."""
    if len(text) > _MAX_TEXT:
        raise ConfigError(f"a condition of {len(text)} characters is longer than the limit of {_MAX_TEXT}")
    try:
        return _term(ast.parse(text.strip(), mode="eval").body, text, names)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"condition {text[:80]!r} is not an expression: {error}") from None


def _last(text: str, knobs: tuple[Knob, ...]) -> int:
    """The number of knobs that have to be chosen before a condition can be asked."""
    read = {node.id for node in ast.walk(ast.parse(text.strip(), mode="eval")) if isinstance(node, ast.Name)}
    return max((index + 1 for index, knob in enumerate(knobs) if knob.name in read), default=0)


class _Condition(NamedTuple):
    """A condition, and how many of the knobs it waits for."""

    term: Term
    knobs: int


@dataclass(frozen=True)
class _Conditions:
    """The feasibility rule: all conditions hold, for rows int32 [n, knobs]."""

    knobs: tuple[Knob, ...]
    conditions: tuple[_Condition, ...]

    def __call__(self, rows: Rows) -> npt.NDArray[np.bool_]:
        return self._hold(rows, [condition.term for condition in self.conditions])

    def begins(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """For rows [n, k] of the first k knobs: whether what the last of these completes holds."""
        chosen = rows.shape[1]
        ready = [each.term for each in self.conditions if max(1, each.knobs) == chosen]
        return self._hold(rows, ready)

    def _hold(self, rows: Rows, terms: Sequence[Term]) -> npt.NDArray[np.bool_]:
        known = zip(self.knobs, rows.T, strict=False)
        columns = {knob.name: np.array(knob.values)[column] for knob, column in known} if terms else {}
        holds = np.ones(len(rows), dtype=np.bool_)
        # `x == 0 or y % x == 0` divides by zero in rows that the first half already settles.
        with np.errstate(all="ignore"):
            for term in terms:
                holds &= _truth(term(columns))
        return holds


def _condition_text(entry: Any) -> str:
    return str(entry["Expression"] if isinstance(entry, dict) else entry)


def _knob(entry: Mapping[str, Any]) -> Knob:
    name, given = str(entry["Name"]), entry["Values"]
    values: list[Any] = _listed(given, name) if isinstance(given, str) else list(given)
    for value in values:
        if not isinstance(value, bool | int | float | str):
            raise ConfigError(
                f"parameter {name!r} has a {type(value).__name__} among its values; plain values only"
            )
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    unique: list[KnobValue] = list(dict.fromkeys(values))
    return Knob(name, tuple(sorted(unique, key=float) if numeric else unique), ordered=numeric)


def _listed(text: str, name: str) -> list[Any]:
    """`"[1, 2] + [4 * i for i in range(1, 3)]"` -> [1, 2, 4, 8]: literals, sums, ranges, comprehensions."""
    if len(text) > _MAX_TEXT:
        raise ConfigError(f"parameter {name!r}: its value list is longer than {_MAX_TEXT} characters")
    try:
        return _value_list(ast.parse(text.strip(), mode="eval").body)
    except (
        ConfigError,
        SyntaxError,
        ValueError,
        TypeError,
        RecursionError,
        MemoryError,
        ArithmeticError,
    ) as error:
        raise ConfigError(f"parameter {name!r}: values {text[:60]!r} are not a list: {error}") from None


def _value_list(node: ast.expr) -> list[Any]:
    match node:
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [ast.literal_eval(element) for element in elements]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _value_list(left) + _value_list(right)
        case ast.Call(func=ast.Name(id="list"), args=[inner], keywords=[]):
            return _value_list(inner)
        case ast.Call(func=ast.Name(id="range"), args=arguments, keywords=[]):
            span = range(*(_whole_number(argument) for argument in arguments))
            if len(span) > _MAX_VALUES:
                raise ValueError(f"a range of {len(span)} values is too long")
            return list(span)
        case ast.ListComp(
            elt=element, generators=[ast.comprehension(target=ast.Name(id=loop), iter=over, ifs=[])]
        ):
            values = np.array(_value_list(over))
            return list(
                np.broadcast_to(_term(element, "values", {loop})({loop: values}), values.shape).tolist()
            )
    raise ValueError("only lists, ranges, sums of them and simple comprehensions are understood")


def _whole_number(node: ast.expr) -> int:
    """`2 ** 5 + 1` -> 33; ValueError for what is not a whole number."""
    with np.errstate(all="raise"):
        value = _term(node, "values", set())({})
    if isinstance(value, str) or not value == int(value):
        raise ValueError(f"a range takes whole numbers, not {ast.unparse(node)[:40]}")
    return int(value)


def _truth(value: Any) -> Any:
    return np.asarray(value).astype(np.bool_)


def _number(value: Any) -> Any:
    """`value` with truths as 0 and 1: Python counts `True + True` as 2, numpy as True."""
    return np.asarray(value).astype(np.int64) if np.asarray(value).dtype == np.bool_ else value


def _either(first: Any, second: Any) -> Any:
    """`first or second`, row by row: the first that is true, else the second."""
    if _numbers(first, second):
        return np.where(_truth(first), first, second)
    return np.logical_or(_truth(first), _truth(second))


def _both(first: Any, second: Any) -> Any:
    """`first and second`, row by row: the first that is false, else the second."""
    if _numbers(first, second):
        return np.where(_truth(first), second, first)
    return np.logical_and(_truth(first), _truth(second))


def _numbers(first: Any, second: Any) -> bool:
    """Whether both are numbers, and not both truths: then `and` and `or` give one of them."""
    kinds = {np.asarray(first).dtype.kind, np.asarray(second).dtype.kind}
    return kinds <= set("biuf") and kinds != {"b"}


def _term(node: ast.expr, text: str, names: set[str]) -> Term:
    """One node of the whitelist as a function over columns."""

    def inner(child: ast.expr) -> Term:
        return _term(child, text, names)

    match node:
        case ast.Constant(value=bool() | int() | float() | str() as constant):
            return lambda columns: constant
        case ast.Name(id=name) if name in names:
            return lambda columns: columns[name]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inverted = inner(operand)
            return lambda columns: ~_truth(inverted(columns))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            negated = inner(operand)
            return lambda columns: -_number(negated(columns))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            first, second, apply = inner(left), inner(right), _BINARY[type(op)]
            if isinstance(op, _OF_TRUTHS):
                return lambda columns: apply(first(columns), second(columns))
            return lambda columns: apply(_number(first(columns)), _number(second(columns)))
        case ast.BoolOp(op=op, values=operands):
            terms = [inner(operand) for operand in operands]
            join = _either if isinstance(op, ast.Or) else _both
            return lambda columns: reduce(join, (term(columns) for term in terms))
        case ast.Compare(left=left, ops=ops, comparators=rights):
            return _comparison(left, ops, rights, inner, text)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            when, then, otherwise = inner(test), inner(body), inner(orelse)
            return lambda columns: np.where(_truth(when(columns)), then(columns), otherwise(columns))
        case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]) if function in _FUNCTIONS:
            call, given = _FUNCTIONS[function], [inner(argument) for argument in arguments]
            return lambda columns: call(*(_number(argument(columns)) for argument in given))
    raise ConfigError(
        f"condition {text[:80]!r} uses {ast.unparse(node)[:40]!r}, which is not among the knobs, operators "
        "and functions that are understood"
    )


def _comparison(
    left: ast.expr, ops: list[ast.cmpop], rights: list[ast.expr], inner: Callable[[ast.expr], Term], text: str
) -> Term:
    """`a < b <= c` and `a in (1, 2)`, chained as Python chains them."""
    links: list[Term] = []
    for op, right in zip(ops, rights, strict=True):
        first = inner(left)
        if isinstance(op, ast.In | ast.NotIn) and isinstance(right, ast.List | ast.Tuple | ast.Set):
            links.append(
                _membership(first, [inner(element) for element in right.elts], isinstance(op, ast.NotIn))
            )
        elif type(op) in _COMPARE:
            links.append(_compared(first, inner(right), _COMPARE[type(op)]))
        else:
            raise ConfigError(f"condition {text[:80]!r} uses a comparison that is not understood")
        left = right
    return lambda columns: reduce(np.logical_and, (link(columns) for link in links))


def _compared(first: Term, second: Term, compare: Callable[[Any, Any], Any]) -> Term:
    return lambda columns: compare(first(columns), second(columns))


def _membership(first: Term, options: list[Term], inverted: bool) -> Term:
    def holds(columns: Columns) -> Any:
        found = reduce(np.logical_or, (np.asarray(first(columns) == option(columns)) for option in options))
        return ~found if inverted else found

    return holds
