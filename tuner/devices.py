"""Which devices a run measures on: simulated ones behind local Ray workers unless told otherwise."""

from compiler_core.errors import UsageError
from measure.pool import Pool

SERIAL = "none"
"""The `ray` address that means: measure in this process."""

CANARY_EVERY = 16
"""Candidates between two canaries on one worker of a cluster; each proves itself before its first, too."""


def simulated_pool(target_name: str, target_text: str, workers: int, ray: str) -> Pool:
    """A pool of simulated accelerators of one target. Ray is only imported where it is used.

    UsageError for fewer workers than one.
    """
    if workers < 1:
        raise UsageError(f"--workers {workers} measures nothing; ask for at least 1")
    if ray == SERIAL:
        from measure.pool import SerialPool
        from measure.simulator.worker import simulated_device

        return SerialPool(simulated_device(target_text))
    from measure.messages import Rules
    from measure.ray_cluster import LOCAL
    from measure.ray_pool import RayPool
    from measure.simulator.canary import simulated_canaries
    from measure.wire import DeviceSpec

    spec = DeviceSpec.of(
        target_name,
        "measure.simulator.canary:warmed_device",
        "measure.simulator.worker:task_to_text",
        "measure.simulator.worker:task_from_text",
        {"target_text": target_text},
    )
    if ray == LOCAL:
        return RayPool(spec, workers)
    # A cluster says itself how many workers it has, and what other hosts answer is tested on the way.
    rules = Rules(canaries=simulated_canaries(target_text), canary_every=CANARY_EVERY)
    return RayPool(spec, None, ray, rules)
