"""Two locks side by side: what a fleet would run otherwise."""

from collections.abc import Iterator
from dataclasses import dataclass

from tilewright.db.exchange.lock_file import Lock, LockedKernel, LockedNetwork
from tilewright.search_space.network import kernel_config


@dataclass(frozen=True)
class LockChange:
    """A network on a target that differs: `kind` is added, removed or changed, `lines` say in what."""

    name: str
    kind: str
    lines: tuple[str, ...]


def diff_locks(first: Lock, second: Lock) -> tuple[LockChange, ...]:
    """The differences of `second` from `first`, in the order of names; empty if both answer alike.

    Networks are told by their names, sizes, targets and objectives, so a new digest is a change.
    """
    before, after = _by_name(first), _by_name(second)
    changes = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            changes.append(LockChange(name, "added" if old is None else "removed", ()))
        elif old != new:
            changes.append(LockChange(name, "changed", tuple(_lines(old, new))))
    return tuple(changes)


def _by_name(lock: Lock) -> dict[str, LockedNetwork]:
    found: dict[str, LockedNetwork] = {}
    for key in sorted(lock.networks):
        network = lock.networks[key]
        sizes = " ".join(f"{dim}={size}" for dim, size in network.dims.items())
        name = ", ".join(filter(None, (network.name, sizes, network.target, str(network.objective))))
        while name in found:
            name += " (another)"
        found[name] = network
    return found


def _lines(old: LockedNetwork, new: LockedNetwork) -> Iterator[str]:
    for what, one, other in (
        ("network", old.graph_digest[:16], new.graph_digest[:16]),
        ("target", old.target_digest[:16], new.target_digest[:16]),
        ("toolchain", old.toolchain, new.toolchain),
        ("verification", str(old.verification), str(new.verification)),
        ("latency", _us(old.latency_us), _us(new.latency_us)),
        ("simulated", _us(old.simulated_us), _us(new.simulated_us)),
        ("program", old.program_digest[:16], new.program_digest[:16]),
    ):
        if one != other:
            yield f"{what}: {one} -> {other}"
    if old.range != new.range:
        yield "range: another interval answers"
    mine = {each.workload_digest: each for each in old.kernels}
    theirs = {each.workload_digest: each for each in new.kernels}
    for digest in sorted(mine.keys() | theirs.keys()):
        told, name = _kernel(mine.get(digest), theirs.get(digest), _knobs(old, new, digest))
        if told:
            yield f"kernel {digest[:16]}: {told}   {name}"


def _kernel(old: LockedKernel | None, new: LockedKernel | None, knobs: str) -> tuple[str, str]:
    """In what a kernel differs, empty where in nothing; and its name."""
    if old is None or new is None:
        there = old or new
        assert there is not None, "a kernel of one of the locks"
        return f"{'new' if old is None else 'gone'}, {_us(there.latency_us)}", there.name
    times = f"{_us(old.latency_us)} -> {_us(new.latency_us)}" if old.latency_us != new.latency_us else ""
    source = f"{old.source} -> {new.source}" if old.source != new.source else ""
    return ", ".join(filter(None, (times, source, knobs))), new.name


def _knobs(old: LockedNetwork, new: LockedNetwork, digest: str) -> str:
    if not all(any(each.workload_digest == digest for each in lock.kernels) for lock in (old, new)):
        return ""
    one, other = (dict(kernel_config(each.config, digest)) for each in (old, new))
    return ", ".join(
        f"{knob} {one.get(knob, 'none')}->{other.get(knob, 'none')}"
        for knob in dict.fromkeys((*one, *other))
        if one.get(knob) != other.get(knob)
    )


def _us(latency_us: float | None) -> str:
    return "none" if latency_us is None else f"{latency_us:.2f} us"
