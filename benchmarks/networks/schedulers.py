"""Other ways to share a budget out among the kernels of a network, for comparison with ours."""

from collections.abc import Sequence

from tilewright.tuner.network.scheduler import Standing

WINDOW = 3
ALPHA = 0.2


def round_robin(standings: Sequence[Standing]) -> int | None:
    """The open task with the fewest trials; ties go to the earlier one."""
    return min(
        (index for index, standing in enumerate(standings) if standing.open),
        key=lambda at: (standings[at].trials, at),
        default=None,
    )


def gradient(standings: Sequence[Standing]) -> int | None:
    """The open task whose next batch promises most, as MetaSchedule's gradient scheduler estimates it.

    Count times ALPHA of the mean improvement over the last WINDOW batches plus (1 - ALPHA) of best / batches,
    after a first batch each (Zheng et al., Ansor, OSDI 2020, section 6.2; alpha 0.2 and window 3 are the
    defaults of TVM's MetaSchedule; its term for similar tasks is off by default there too).
    """
    open_tasks = [index for index, standing in enumerate(standings) if standing.open]
    fresh = [index for index in open_tasks if not standings[index].bests_us]
    if fresh:
        return fresh[0]
    return max(open_tasks, key=lambda at: (_gradient(standings[at]), -at), default=None)


def _gradient(standing: Standing) -> float:
    bests = standing.bests_us
    if bests[-1] == float("inf"):
        return float("inf")
    window = min(WINDOW, len(bests) - 1)
    before = bests[-1 - window]
    slope = (before - bests[-1]) / window if window and before != float("inf") else 0.0
    return standing.count * (ALPHA * slope + (1 - ALPHA) * bests[-1] / len(bests))
