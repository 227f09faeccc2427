"""A lock: the answers that a fleet serves, in one file that is kept beside the source.

    {"format": "tilewright-lock", "version": 1, "networks": [
      {"model": {"name", "graph_digest", "dims"}, "target": {"name", "digest"}, "toolchain": "3",
       "objective": "latency", "latency_us": 158.19, "simulated_us": null, "host_us": 0.0,
       "verification": "value-exact", "range": null, "kernels": [...], "config": {...},
       "program_digest": "...", "digest": "..."}]}

The text follows from the answers alone: no clock, no host, no path, networks in the order of their keys. So
two databases that answer alike give the same bytes. A lock is data of somebody else until it is parsed.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilewright.compiler_core.digest import Json, digest_of
from tilewright.compiler_core.errors import ConfigError, RecordError
from tilewright.compiler_core.files.inputs import open_regular
from tilewright.db.exchange.bounded_json import parse_bounded
from tilewright.db.exchange.fields import (
    LOCK,
    LOCKED_KERNEL,
    LOCKED_MODEL,
    LOCKED_NETWORK,
    LOCKED_RANGE,
    LOCKED_TARGET,
    take,
)
from tilewright.db.records import Verification
from tilewright.measure.objectives import Objective
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import kernel_config

FORMAT, VERSION = "tilewright-lock", 1
MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class LockedKernel:
    """A distinct kernel of a locked network. `source` is that of a compiled Program: `network`, `range`,
    `database`, `other-placement` or `guessed`; its Config is in that of the network.
    """

    name: str
    workload_digest: str
    ops: tuple[str, ...]
    count: int
    source: str
    latency_us: float


@dataclass(frozen=True)
class LockedNetwork:
    """A network on a target, and the Config that it runs there. `latency_us` was measured of the whole, else
    `simulated_us` is what the simulator has; `host_us`
    of either is for ops on the host. `range` is the interval of sizes that answers, if one does.
    `program_digest` is that of the Program that the Config makes.
    """

    name: str
    graph_digest: str
    dims: Mapping[str, int]
    target: str
    target_digest: str
    toolchain: str
    objective: Objective
    latency_us: float | None
    simulated_us: float | None
    host_us: float
    verification: Verification
    config: Config
    program_digest: str
    kernels: tuple[LockedKernel, ...]
    range: Mapping[str, Json] | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The key of the questions that it answers."""
        return self.graph_digest, self.target_digest, self.toolchain, str(self.objective)

    def answers(self) -> Iterator[tuple[str, str, float | None, Config]]:
        """Digest, source, latency and Config of the network, and of each of its kernels."""
        source = (
            "network" if self.latency_us is not None else "range" if self.range is not None else "database"
        )
        yield self.graph_digest, source, self.latency_us, self.config
        for each in self.kernels:
            found = kernel_config(self.config, each.workload_digest)
            yield each.workload_digest, each.source, each.latency_us, found


@dataclass(frozen=True)
class Lock:
    """Locked networks by key."""

    networks: Mapping[tuple[str, str, str, str], LockedNetwork]

    def text(self) -> str:
        """The file; inverse of `parse_lock`."""
        networks: list[Json] = [network_to_json(self.networks[key]) for key in sorted(self.networks)]
        form = {"format": FORMAT, "version": VERSION, "networks": networks}
        return json.dumps(form, indent=1, allow_nan=False) + "\n"


def read_lock(path: str | Path) -> Lock:
    """The lock in a file. RecordError, one line, where there is none, or where it was changed by hand."""
    try:
        with open_regular(Path(path)) as file:
            read = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its name cannot be one of a file"
        raise RecordError(f"cannot read lock {path}: {reason}") from None
    if len(read) > MOST_BYTES:
        raise RecordError(f"lock {path} is larger than {MOST_BYTES >> 20} MiB")
    try:
        return parse_lock(read.decode("utf-8"))
    except UnicodeDecodeError:
        raise RecordError(f"lock {path} is no text; make it by `tune lock`") from None
    except RecordError as error:
        raise RecordError(f"lock {path}: {error}") from None


def parse_lock(text: str) -> Lock:
    """The lock in a text. RecordError names the field at fault."""
    try:
        form = parse_bounded(text)
        if not isinstance(form, dict) or form.get("format") != FORMAT:
            raise ValueError(f"it is no {FORMAT}; make it by `tune lock`")
        if form.get("version") != VERSION:
            raise ValueError(f"it has version {str(form.get('version'))[:20]}, this reads {VERSION}")
        networks = [_network_from_json(each) for each in take(form, LOCK)["networks"]]
    except (ValueError, RecursionError, ConfigError) as error:
        raise RecordError(" ".join(str(error).split())[:400]) from None
    found = {network.key: network for network in networks}
    if len(found) != len(networks):
        raise RecordError("it has two answers for one network, target, toolchain and objective; lock it anew")
    return Lock(found)


def network_to_json(network: LockedNetwork) -> Json:
    """An entry of the file, with a digest of all that it says."""
    body: dict[str, Json] = {
        "model": {
            "name": network.name,
            "graph_digest": network.graph_digest,
            "dims": dict(network.dims),
        },
        "target": {"name": network.target, "digest": network.target_digest},
        "toolchain": network.toolchain,
        "objective": str(network.objective),
        "latency_us": network.latency_us,
        "simulated_us": network.simulated_us,
        "host_us": network.host_us,
        "verification": str(network.verification),
        "range": None if network.range is None else dict(network.range),
        "kernels": [
            {
                "name": each.name,
                "workload_digest": each.workload_digest,
                "ops": list(each.ops),
                "count": each.count,
                "source": each.source,
                "latency_us": each.latency_us,
            }
            for each in network.kernels
        ],
        "config": dict(network.config),
        "program_digest": network.program_digest,
    }
    return {**body, "digest": digest_of(body)}


def _network_from_json(form: Any) -> LockedNetwork:
    taken = take(form, LOCKED_NETWORK)
    body = {name: value for name, value in form.items() if name != "digest"}
    model, target = take(taken["model"], LOCKED_MODEL), take(taken["target"], LOCKED_TARGET)
    if digest_of(body) != taken["digest"]:
        raise ValueError(f"the answer of {model['name']} was changed since it was locked; lock it anew")
    network = LockedNetwork(
        model["name"],
        model["graph_digest"],
        model["dims"],
        target["name"],
        target["digest"],
        taken["toolchain"],
        taken["objective"],
        taken["latency_us"],
        taken["simulated_us"],
        taken["host_us"],
        taken["verification"],
        taken["config"],
        taken["program_digest"],
        tuple(LockedKernel(**take(each, LOCKED_KERNEL)) for each in taken["kernels"]),
        None if taken["range"] is None else take(taken["range"], LOCKED_RANGE),
    )
    if not all(config.items for *_, config in network.answers()):
        raise ValueError(f"a Config of {network.name} is empty; lock it anew")
    return network
