"""The table of steps, and the families of models made of them."""

from collections.abc import Mapping

from tests.differential.case import Case, Draw, Family
from tests.differential.standard.containers import CONTAINERS
from tests.differential.standard.elementwise import ELEMENTWISE
from tests.differential.standard.moving import MOVING
from tests.differential.standard.net import OPSETS, Net, NoFormError, Step
from tests.differential.standard.older import OLDER
from tests.differential.standard.picking import PICKING
from tests.differential.standard.products import PRODUCTS
from tests.differential.standard.quantizing import QUANTIZING
from tests.differential.standard.recurring import RECURRING
from tests.differential.standard.reducing import REDUCING
from tests.differential.standard.resize_cases import RESIZE
from tests.differential.standard.signals import SIGNALS
from tests.differential.standard.windows import WINDOWS

STEPS: Mapping[str, Step] = {
    **CONTAINERS,
    **ELEMENTWISE,
    **MOVING,
    **OLDER,
    **PICKING,
    **PRODUCTS,
    **QUANTIZING,
    **RECURRING,
    **REDUCING,
    **SIGNALS,
    **WINDOWS,
}
ATTEMPTS = 60
CHAIN = 3
CHAINS = "Chain"
"""The name of the family of chains."""
MAY_BE_UNDEFINED = frozenset(
    {
        *("Acos", "Acosh", "Asin", "Atanh", "Celu", "Div", "Elu", "IsInf", "Log", "Mod", "Pow", "Reciprocal"),
        *("ReduceLogSum", "ReduceProd", "Sqrt", "Tan"),
    }
)
"""Steps whose results may hold NaN or infinities."""
NEED_NUMBERS = frozenset(
    ["Cast", "DynamicQuantizeLinear", "Hardmax", "LRN", "TopK", "ThereAndBack", "Unique"]
)
"""Steps of which nobody says what they make of those. LRN: a running sum of squares loses small ones."""
LAST = frozenset(["BlackmanWindow", "DFT", "STFT"])
"""Steps whose results are nearly zero where they should be: nothing is made of them."""


def _single(step: Step) -> Family:
    def family(draw: Draw) -> Case:
        for _ in range(ATTEMPTS):
            net = Net(draw, draw.one_of(OPSETS))
            try:
                step(net)
            except NoFormError:
                continue
            return net.case()
        raise NoFormError

    return family


def chain(draw: Draw) -> Case:
    """A model of up to three operators, each of which takes a result of the one before."""
    names = sorted(STEPS.keys() - LAST)
    net = Net(draw, draw.one_of(OPSETS))
    made: list[str] = []
    for _ in range(ATTEMPTS):
        name = draw.one_of(names)
        if name in NEED_NUMBERS and MAY_BE_UNDEFINED.intersection(made):
            continue
        before = len(net.nodes), dict(net.feeds), dict(net.constants), net.given
        try:
            STEPS[name](net)
        except (NoFormError, ValueError):
            # A ValueError says that an extent of 0 leaves nothing to choose from.
            del net.nodes[before[0] :]
            net.feeds, net.constants, net.given = before[1:]
            continue
        made.append(name)
        results = [result for result in net.results() if all(result.shape)]
        # What may be off by a step is nothing to go on from.
        if len(made) == CHAIN or not results or net.steps:
            break
        net.given = draw.one_of(results)
    return net.case()


STANDARD: Mapping[str, Family] = {
    **{name: _single(step) for name, step in STEPS.items()},
    **RESIZE,
    CHAINS: chain,
}
