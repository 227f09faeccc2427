"""From a Config of a kernel's Space to its meaning for the compiler: a Tiling and a number of cores."""

from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import Tiling
from tilewright.search_space.blocking import VECTOR, default_values
from tilewright.search_space.knobs import Config, KnobValue
from tilewright.search_space.rules import KnobLayout, order_text
from tilewright.search_space.space import Space


def tiling_of(config: Config, regions: Regions) -> tuple[Tiling, int]:
    """The Tiling and core count that `config` stands for.

    Knobs a kernel does not offer may be absent: the loop is not cut, one slot. ConfigError on a value of the
    wrong kind; the lowering decides whether the Tiling is legal.
    """
    values = dict(config.items)
    rank = regions.graph.ops[regions.root].rank
    names = [f"tile_{loop}" for loop in range(rank)]
    names += [f"reduction_tile_{loop}" for loop in range(len(regions.loops) - rank)]
    sizes = tuple(
        _whole(values, name, max(1, axis.extent)) for name, axis in zip(names, regions.loops, strict=True)
    )
    order = _order(values.get("loop_order", ""), rank)
    tiling = Tiling(
        tile=sizes[:rank],
        reduction_tile=sizes[rank:],
        loop_order=order,
        load_slots=_whole(values, "load_slots", 1),
        accumulator_slots=_whole(values, "accumulator_slots", 1),
        store_slots=_whole(values, "store_slots", 1),
        tiles_in_flight=_whole(values, "tiles_in_flight", 1),
    )
    return tiling, _whole(values, "cores", 1)


def config_of(tiling: Tiling, cores: int, space: Space, layout: KnobLayout) -> Config:
    """The Config of `space` that means `tiling` on `cores` cores; ConfigError when the space has none."""
    rank = len(tiling.tile)
    sizes = (*tiling.tile, *tiling.reduction_tile)
    ordered = set(layout.orders[0]) if layout.orders else set()
    values: dict[str, KnobValue] = {
        "loop_order": order_text(tuple(d for d in tiling.loop_order if d in ordered)),
        "load_slots": tiling.load_slots,
        "accumulator_slots": tiling.accumulator_slots,
        "store_slots": tiling.store_slots,
        "tiles_in_flight": tiling.tiles_in_flight,
        "cores": cores,
    }
    for loop, size in enumerate(sizes):
        values[f"tile_{loop}" if loop < rank else f"reduction_tile_{loop - rank}"] = size
    if VECTOR in {knob.name for knob in space.knobs}:
        program = lower_kernel(layout.regions, tiling, cores, layout.target)
        values |= default_values(layout.regions, program, layout.target, space.knobs)
    config = Config(tuple((knob.name, values[knob.name]) for knob in space.knobs))
    return space.decode(space.canonical(space.encode(config)[None, :])[0])


def _whole(values: dict[str, KnobValue], name: str, default: int) -> int:
    value = values.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"knob {name!r} is {value!r}; it takes a whole number from 1 on")
    return value


def _order(value: KnobValue, rank: int) -> tuple[int, ...]:
    """The listed axes in their order; axes not listed have one tile and go outermost."""
    try:
        listed = [int(part) for part in str(value).split()]
    except ValueError:
        raise ConfigError(
            f"knob 'loop_order' is {value!r}; it takes axis numbers with spaces between"
        ) from None
    if len(set(listed)) != len(listed) or any(not 0 <= axis < rank for axis in listed):
        raise ConfigError(f"knob 'loop_order' is {value!r}; it takes each axis of 0..{rank - 1} at most once")
    return (*(axis for axis in range(rank) if axis not in listed), *listed)
