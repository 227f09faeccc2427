"""Settings of a kernel search, as plain numbers in a module that is light to import."""

from dataclasses import dataclass, field

from tilewright.measure.objectives import Objective


@dataclass(frozen=True)
class ProposeSettings:
    """How a batch is put together.

    `warm_up` measurements of a run go by draft rank, `blind_warm_up` of a task without a draft by chance.
    Rows rank by their mean less `optimism` spreads, `blind_optimism` without a draft: the errors of a draft
    are alike for similar rows, so one trial corrects them all, while without a draft each row may be the
    exception. The spreads count more after `restless` trials without a better one, `blind_restless` without a
    draft: on a plateau of one latency a model is sure of everything near by. The pool of a large space holds
    all neighbours of the `near_best` best rows, and draws from the `density` of the good.
    """

    warm_up: int = 16
    blind_warm_up: int = 8
    optimism: float = 1.0
    blind_optimism: float = 3.0
    restless: float = 16.0
    blind_restless: float = 48.0
    pool: int = 512
    generations: int = 3
    near_best: int = 2
    density: bool = True


@dataclass(frozen=True)
class SearchSettings:
    """How a search goes about it.

    Batches start small, where each answer changes the next question most, and grow with what is known:
    `asked` // `batch_growth`, within `first_batch` and `batch`; without a draft, where there is more to learn
    from each, the `blind_` ones hold. A kernel with a small share of its network has a `first_look` before:
    one trial tells whether it may matter. Of several `objectives` a front is searched, and the best is that
    of the first.
    """

    objectives: tuple[Objective, ...] = (Objective.LATENCY,)
    batch: int = 16
    first_batch: int = 4
    first_look: int = 1
    batch_growth: int = 4
    blind_first_batch: int = 2
    blind_batch_growth: int = 16
    propose: ProposeSettings = field(default_factory=ProposeSettings)

    def network_batch(self, asked: int, *, blind: bool = False) -> int:
        """The size of the next batch of a small kernel of a network, after `asked` trials of it."""
        return self.batch_size(asked, blind=blind) if asked else self.first_look

    def batch_size(self, asked: int, *, blind: bool = False) -> int:
        """The size of the next batch after `asked` trials; `blind` without a draft."""
        first, growth = self.first_batch, self.batch_growth
        if blind:
            first, growth = self.blind_first_batch, self.blind_batch_growth
        return min(self.batch, max(first, asked // growth))
