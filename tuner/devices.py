"""The devices that a run measures on: simulated ones by default, in this process or behind workers of Ray."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module

from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.target_model.file import load_target, parse_target
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.checked import checked
from tilewright.measure.device import Device, DeviceInfo, built_in_info
from tilewright.measure.farm.growing import GrowingPool
from tilewright.measure.farm.pool import Pool, SerialPool
from tilewright.measure.farm.standby import StandbyPool
from tilewright.measure.farm.witnesses import WitnessedPool
from tilewright.measure.faults import FaultPlan
from tilewright.measure.host.worker import host_device, host_spec
from tilewright.measure.lab import lab_here, plan_text, read_lab, toolchain_of
from tilewright.measure.own_device import OwnDevice
from tilewright.tuner.request import PoolChoice, TuneRequest

SERIAL = "none"
"""The `ray` address that means: measure in this process."""

AUTO = "auto"
"""The one that means: in this process, and on a local Ray once that has taken as long as its start."""

CANARY_EVERY = 16
"""Candidates between two canaries on one worker of a cluster; each proves itself before its first, too."""


def simulated_pool(
    target_name: str,
    target_text: str,
    workers: int,
    ray: str,
    lab: FaultPlan | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Pool:
    """A pool of simulated accelerators of one target, under a plan of faults if there is one.

    Ray is only imported where it is used, and with AUTO started where it pays. A local one that does not come
    up, as on a busy machine, is started once more; then this process measures, and `say` gets the reason.
    UsageError for fewer workers than one.
    """
    if workers < 1:
        raise UsageError(f"--workers {workers} measures nothing; ask for at least 1")
    target, _ = parse_target(target_text)
    if target is not None and target.identity:
        return _host_pool(target, target_text, ray, lab)
    if ray == SERIAL:
        return _in_process(target_text, lab)
    if ray == AUTO and lab is None:
        elsewhere = partial(simulated_pool, target_name, target_text, workers, "local", None, say)
        say("in this process; on a local Ray if that takes long (--ray none: never)")
        return GrowingPool(_in_process(target_text), elsewhere, say)
    from tilewright.measure.farm.messages import Rules
    from tilewright.measure.ray_farm.cluster import LOCAL
    from tilewright.measure.ray_farm.pool import RayPool
    from tilewright.measure.simulator.canary import simulated_canaries
    from tilewright.measure.wire import DeviceSpec

    spec = DeviceSpec.of(
        target_name,
        "tilewright.measure.simulator.canary:warmed_device",
        "tilewright.measure.simulator.worker:task_to_text",
        "tilewright.measure.simulator.worker:task_from_text",
        {"target_text": target_text, "lab": plan_text(lab) if lab else ""},
    )
    if ray in (AUTO, LOCAL) and lab is not None:  # a lab whose workers die shall be seen to fail
        return RayPool(spec, workers)
    if ray == LOCAL:
        start = partial(RayPool, spec, workers)
        choices = (start, start, partial(_in_process, target_text))
        return StandbyPool(choices, lambda why: say(f"in this process, as Ray could not: {why}"))
    # A cluster reports its number of workers, and canaries test the answers of other hosts.
    rules = Rules(
        toolchain="" if target is None else info_of(target, None, lab).toolchain,
        canaries=simulated_canaries(target_text),
        canary_every=CANARY_EVERY,
    )
    return RayPool(spec, None, ray, rules)


def _in_process(target_text: str, lab: FaultPlan | None = None) -> Pool:
    from tilewright.measure.simulator.worker import simulated_device

    return SerialPool(_under(simulated_device(target_text), lab))


@contextmanager
def one_start(ray: str) -> Iterator[None]:
    """A local Ray that a pool starts meanwhile stays for the next pool, and ends with the `with` block."""
    if ray in (SERIAL, AUTO):
        yield
        return
    from tilewright.measure.ray_farm.cluster import kept

    with kept():
        yield


def _host_pool(target: Target, target_text: str, ray: str, lab: FaultPlan | None) -> Pool:
    """Cores of CPUs of one kind: one of this machine, in a child process, or those of a cluster.

    On one machine kernels take turns on one core: those on another would share its caches and its clock.
    """
    if ray in (SERIAL, AUTO, "local"):
        return SerialPool(_under(host_device(target_text), lab))
    from tilewright.measure.farm.messages import Rules
    from tilewright.measure.ray_farm.pool import RayPool

    rules = Rules(toolchain=info_of(target, None, None).toolchain)
    return RayPool(host_spec(target_text), None, ray, rules)


def load_device(reference: str) -> Device:
    """The device that `module:factory` makes, the working directory searched first.

    UsageError names the mistake. The factory takes no arguments. For the command line only: it runs any code
    in the module.
    """
    module, colon, factory = reference.partition(":")
    if not (module and colon and factory):
        raise UsageError(f"--device {reference!r} is not MODULE:FACTORY, as in my_board:open_board")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        made = getattr(import_module(module), factory)
    except ImportError as error:
        raise UsageError(f"--device {reference}: {error}; is the module in the working directory?") from None
    except AttributeError:
        raise UsageError(f"--device {reference}: module {module} has no {factory!r}") from None
    if not callable(made):
        raise UsageError(f"--device {reference}: {factory} is no function that makes a device")
    try:
        device: Device = made()
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise UsageError(f"--device {reference}: {factory}() raised {said}") from error
    if not all(callable(getattr(device, method, None)) for method in ("describe", "measure")):
        raise UsageError(f"--device {reference}: its object lacks describe() or measure(task, configs)")
    if not isinstance(device.describe(), DeviceInfo):
        raise UsageError(f"--device {reference}: describe() gives no measure.device.DeviceInfo")
    return device


def _under(device: Device, lab: FaultPlan | None) -> Device:
    return device if lab is None else lab_here(device, lab)


def own_device(reference: str, target_digest: str) -> Device:
    """The user's device that `module:factory` makes; UsageError where it measures for another target."""
    device = load_device(reference)
    said = device.describe().target_digest
    if said != target_digest:
        raise UsageError(
            f"--device {reference} measures target {said[:16]}, this run is for {target_digest[:16]};"
            " let describe() give the digest of the target file that --target names"
        )
    return device


def own_pool(device: Device, lab: FaultPlan | None = None) -> Pool:
    """A user's device, in this process; its outputs are checked where it returns them."""
    own = OwnDevice(device)
    return SerialPool(checked(own) if lab is None else lab_here(own, lab))


@dataclass(frozen=True)
class Devices:
    """The measuring devices: a user's `own` device, or the `pool` of the target's; under a plan of faults if
    there is one.
    """

    pool: PoolChoice
    own: Device | None = None
    lab: FaultPlan | None = None

    def describe(self, target: Target) -> DeviceInfo:
        """The device that measures. A plan of faults changes its toolchain."""
        return info_of(target, self.own, self.lab)

    def open(self, target: Target, target_text: str, say: Callable[[str], None]) -> Pool:
        """A pool of them; the clock of any but the target's own is checked before a reading counts
        (measure/farm/witnesses.py).
        """
        if self.own is not None:
            return WitnessedPool(own_pool(self.own, self.lab), say)
        pool = simulated_pool(target.name, target_text, self.pool.workers, self.pool.ray, self.lab, say)
        return pool if self.lab is None else WitnessedPool(pool, say)


def devices_of(request: TuneRequest) -> Devices:
    """The devices that a request asks for."""
    own = own_device(request.device, load_target(request.target).digest) if request.device else None
    return Devices(request.pool, own, read_lab(request.lab) if request.lab else None)


def info_of(target: Target, device: Device | None, lab: FaultPlan | None) -> DeviceInfo:
    """The device that measures: a user's `device`, else the target's own. A plan of faults changes its
    digest.
    """
    info = built_in_info(target) if device is None else device.describe()
    return info if lab is None else replace(info, toolchain=toolchain_of(info.toolchain, lab))
