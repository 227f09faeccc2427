"""Constants computed on demand: weights, folded arithmetic, tables that depend on symbols.

A Recipe says how to make an array from other recipes and from the values bound to symbols. Importing a
network makes recipes only; a compile that needs shapes but no weights never runs them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from tilewright.compiler_core.ir.dims import known
from tilewright.compiler_core.ir.dtypes import TensorType
from tilewright.compiler_core.ir.graph import Op
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.meaning.evaluate import Held, evaluate

Compute = Callable[[Sequence[Array], Mapping[str, int]], Array]

UNKNOWN_WORK = 1 << 62
"""The work of a recipe whose size depends on symbols."""


class Recipe:
    """How to make one constant.

    `work` is the number of elements that this step touches, its sources not included; UNKNOWN_WORK while a
    symbol decides. `symbols` are those that must be bound, here or in a source.
    """

    __slots__ = ("compute", "sources", "symbols", "work")

    def __init__(
        self,
        compute: Compute,
        sources: tuple["Recipe", ...] = (),
        *,
        work: int = 0,
        symbols: frozenset[str] = frozenset(),
    ) -> None:
        self.compute = compute
        self.sources = sources
        self.symbols: frozenset[str] = symbols.union(*(source.symbols for source in sources))
        self.work = work


def recipe_of(array: Array) -> Recipe:
    """The recipe of an array that is already there."""
    return Recipe(lambda sources, symbols: array, work=array.size)


def recipe_of_op(op: Op, result: TensorType, sources: Sequence[Recipe]) -> Recipe:
    """The recipe of a structured op all of whose operands are constants."""
    extents = [extent for extent in op.domain if isinstance(extent, int)]
    named = op.symbols
    work = UNKNOWN_WORK
    if not named:
        work = 1
        for extent in extents:
            work = min(UNKNOWN_WORK, work * extent)

    def compute(arrays: Sequence[Array], symbols: Mapping[str, int]) -> Array:
        bound = op.bound_to(symbols) if named else op
        box = [(0, known(extent, f"an axis of constant {op.kind}")) for extent in bound.domain]
        return evaluate(bound, box, [Held(a, (0,) * a.ndim, a.shape) for a in arrays], result)

    return Recipe(compute, tuple(sources), work=work, symbols=named)


def run(recipe: Recipe, symbols: Mapping[str, int]) -> Array:
    """The array a recipe makes, its sources computed first and dropped after their last reader."""
    order, readers = _order(recipe)
    made: dict[int, Array] = {}
    for step in order:
        made[id(step)] = step.compute([made[id(source)] for source in step.sources], symbols)
        for source in step.sources:
            readers[id(source)] -= 1
            if not readers[id(source)]:
                del made[id(source)]
    return made[id(recipe)]


def fits(recipe: Recipe, steps: int, work: int) -> bool:
    """Whether computing a recipe takes at most `steps` steps that touch at most `work` elements together."""
    seen = {id(recipe)}
    waiting = [recipe]
    while waiting:
        step = waiting.pop()
        steps, work = steps - 1, work - step.work
        if steps < 0 or work < 0:
            return False
        for source in step.sources:
            if id(source) not in seen:
                seen.add(id(source))
                waiting.append(source)
    return True


def _order(recipe: Recipe) -> tuple[list[Recipe], dict[int, int]]:
    """Every recipe behind `recipe`, sources first, and how often each is read."""
    order: list[Recipe] = []
    readers: dict[int, int] = {}
    done: set[int] = set()
    waiting: list[tuple[Recipe, bool]] = [(recipe, False)]
    while waiting:
        step, sources_done = waiting.pop()
        if id(step) in done:
            continue
        if sources_done:
            done.add(id(step))
            order.append(step)
            for source in step.sources:
                readers[id(source)] = readers.get(id(source), 0) + 1
        else:
            waiting.append((step, True))
            waiting.extend((source, False) for source in step.sources if id(source) not in done)
    return order, readers


MOST_KEPT_BYTES = 1 << 29
"""Bytes of computed constants that are kept; beyond, constants are computed at every access."""


class Constants(Mapping[int, Array]):
    """Constants of a Graph by value: computed at the first access, then kept, up to MOST_KEPT_BYTES of them.

    Weights in files beside the model are mapped, so that a second access is cheap; they take memory only
    while they are in use.
    """

    def __init__(
        self,
        recipes: Mapping[int, Recipe],
        symbols: Mapping[str, int] | None = None,
        made: Mapping[int, Array] | None = None,
    ) -> None:
        self._recipes = dict(recipes)
        self._symbols = dict(symbols or {})
        self._made = dict(made or {})
        self._room = MOST_KEPT_BYTES - sum(array.nbytes for array in self._made.values())

    def __getitem__(self, value: int) -> Array:
        if value in self._made:
            return self._made[value]
        array = np.asarray(run(self._recipes[value], self._symbols))
        if array.nbytes <= self._room:
            self._made[value] = array
            self._room -= array.nbytes
        return array

    def __contains__(self, value: object) -> bool:
        return value in self._recipes

    def __iter__(self) -> Iterator[int]:
        return iter(self._recipes)

    def __len__(self) -> int:
        return len(self._recipes)

    def bound_to(self, symbols: Mapping[str, int]) -> "Constants":
        """The same constants with more symbols bound; constants without symbols are not computed again."""
        kept = {value: array for value, array in self._made.items() if not self._recipes[value].symbols}
        return Constants(self._recipes, {**self._symbols, **symbols}, kept)

    @property
    def computed(self) -> frozenset[int]:
        """The values computed so far."""
        return frozenset(self._made)

    def recipe(self, value: int) -> Recipe:
        """The recipe of `value`."""
        return self._recipes[value]
