"""The Ray that a pool's workers live in: a private local one, or a cluster at an address, with a token."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tilewright.compiler_core.errors import DeviceError
from tilewright.measure.ray_farm.private import (
    TOKEN_ADVICE,
    has_token,
    is_loopback,
    node_command,
    private_directory,
    require_token,
    settle_environment,
    start_reaper,
)
from tilewright.measure.ray_farm.reaper import MARK

LOCAL = "local"
LOCAL_KIND = "tilewright_local"  # resource of every worker of a private local Ray, for any device
LOCAL_SLOTS = 4096
OBJECT_STORE_BYTES = 80 * 2**20  # Ray refuses less than 75 MiB; calls and answers are small texts
CONNECT_S = 2.0
PROBES = 32  # connections tried in parallel
RESOURCE = "device_"  # prefix of the custom resource that a node offers, one unit a device

Endpoint = tuple[str, int]

_lock = threading.Lock()
_users = 0
_started_here = False
_epoch = 0  # counts connections, so that of several pools only the first replaces a broken one
_reaper: "subprocess.Popen[str] | None" = None
_node: "subprocess.Popen[bytes] | None" = None  # where a driver's host is none of the cluster's yet


@dataclass(frozen=True)
class ClusterNode:
    """A living host of the cluster. `offered` devices of the pool's kind, of which `free` are not in use."""

    identity: str
    endpoint: Endpoint
    offered: int
    free: int
    leaving: bool  # it drains: nothing new may go there


@dataclass(frozen=True)
class Cluster:
    """A connection to Ray. `resource` is the name that one worker of the pool's kind requests."""

    ray: Any
    address: str
    resource: str
    epoch: int
    endpoints: tuple[Endpoint, ...]  # of what must be alive for workers to be started

    def nodes(self) -> tuple[ClusterNode, ...]:
        """Every living host, whether it has devices of the kind or not."""
        state = self.ray._private.state
        free = state.available_resources_per_node()
        leaving = state.state.get_draining_nodes()
        return tuple(
            ClusterNode(
                node["NodeID"],
                (node["NodeManagerAddress"], node["NodeManagerPort"]),
                int(node["Resources"].get(self.resource, 0)),
                int(free.get(node["NodeID"], {}).get(self.resource, 0)),
                node["NodeID"] in leaving,
            )
            for node in self.ray.nodes()
            if node["Alive"]
        )

    def offered(self) -> int:
        """The number of workers of the kind that the cluster can hold, busy or not."""
        return sum(node.offered for node in self.nodes() if not node.leaving)

    def kinds(self) -> tuple[str, ...]:
        """Kinds of devices that the cluster has at all."""
        names = {name for node in self.ray.nodes() if node["Alive"] for name in node["Resources"]}
        return tuple(sorted(name.removeprefix(RESOURCE) for name in names if name.startswith(RESOURCE)))

    def alive(self) -> bool:
        """Whether the head still takes connections. Ray itself would find out after a minute, and exit."""
        return not unreachable(self.endpoints)


def unreachable(endpoints: "tuple[Endpoint, ...] | frozenset[Endpoint]") -> frozenset[Endpoint]:
    """Those of `endpoints` (host and port) that take no connection within DOOR_S."""
    if not endpoints:
        return frozenset()
    asked = tuple(endpoints)
    with ThreadPoolExecutor(min(PROBES, len(asked))) as probes:
        return frozenset(
            endpoint for endpoint, opened in zip(asked, probes.map(_opens, asked), strict=True) if not opened
        )


def _opens(endpoint: Endpoint) -> bool:
    try:
        socket.create_connection(endpoint, timeout=CONNECT_S).close()
    except OSError:
        return False
    return True


def connect(address: str, kind: str, workers: int) -> Cluster:
    """Join the cluster at `address`, or start a private one for "local"; pair with `disconnect`.

    Several pools of one process share one connection. DeviceError when the address is bare, unreachable, or
    beyond this machine without a token.
    """
    global _users, _started_here
    if address != LOCAL:
        require_token(address)
    with _lock:
        ray = _import_ray(private=address == LOCAL)
        if not ray.is_initialized():
            _initialise(ray, address, workers)
            _started_here = True
        _users += 1
        return _cluster(ray, address, kind)


def reconnect(cluster: Cluster, kind: str, workers: int) -> Cluster:
    """A new connection in place of one whose head is gone; DeviceError when there is none (yet)."""
    global _started_here
    with _lock:
        if cluster.epoch == _epoch and _started_here:
            _shut_down(cluster.ray)
        if not cluster.ray.is_initialized():
            _initialise(cluster.ray, cluster.address, workers)
            _started_here = True
        return _cluster(cluster.ray, cluster.address, kind)


def disconnect() -> None:
    """Give the connection back; the last one out ends a private Ray and every process of it."""
    _leave()


@contextmanager
def kept() -> Iterator[None]:
    """A connection made meanwhile stays open until the `with` block ends, for one pool after another."""
    global _users
    with _lock:
        _users += 1
    try:
        yield
    finally:
        _leave()


def _leave() -> None:
    global _users
    with _lock:
        _users -= 1
        if _users == 0 and _started_here:
            _shut_down(sys.modules["ray"])


def _shut_down(ray: Any) -> None:
    global _started_here, _reaper, _node
    ray.shutdown()
    _started_here = False
    if _node is not None:
        _node.terminate()
        _node.wait()
        _node = None
    if _reaper is not None:
        _reaper.communicate("in order")
        _reaper = None


def _cluster(ray: Any, address: str, kind: str) -> Cluster:
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    endpoints = [(host, int(port))]
    if address == LOCAL:
        endpoints += [(node["NodeManagerAddress"], node["NodeManagerPort"]) for node in ray.nodes()]
    resource = LOCAL_KIND if address == LOCAL else RESOURCE + kind
    return Cluster(ray, address, resource, _epoch, tuple(endpoints))


def _import_ray(private: bool) -> Any:
    settle_environment(private)
    import ray  # 0.5 s, and only where something is measured

    return ray


def _initialise(ray: Any, address: str, workers: int) -> None:
    global _epoch, _reaper, _node
    options: dict[str, Any] = {
        "address": address,
        "log_to_driver": False,
        "logging_level": "ERROR",
        "namespace": "tilewright",
    }
    if address == LOCAL:
        options |= {
            "include_dashboard": False,
            "num_cpus": max(1, workers),
            "resources": {LOCAL_KIND: LOCAL_SLOTS},
            "object_store_memory": OBJECT_STORE_BYTES,
            "_temp_dir": str(private_directory() / "ray"),
        }
        _reaper = start_reaper()
    elif not ray._private.services.find_node_ids():  # Ray's drivers need a node on their own host
        _reaper = start_reaper()
        quiet = subprocess.DEVNULL
        _node = subprocess.Popen(node_command(address, {}), stdout=quiet, stderr=quiet)
    try:
        ray.init(**options)
    except Exception as error:  # noqa: BLE001 - Ray raises ConnectionError, ValueError, RuntimeError...
        reason = " ".join(str(error).split())[:300]
        _shut_down(ray)
        raise DeviceError(f"Ray at {address} cannot be reached: {type(error).__name__}: {reason}") from None
    finally:
        os.environ.pop(MARK, None)
    if address != LOCAL:
        _refuse_open_cluster(ray, address)
    _epoch += 1
    # log_to_driver does not cover the page that Ray prints for every dead worker; the pool keeps the reasons.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None


def _refuse_open_cluster(ray: Any, address: str) -> None:
    """A cluster reached by loopback may still be open to the network; the addresses of its nodes show it."""
    beyond = [node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]]
    beyond = [host for host in beyond if not is_loopback(f"{host}:0")]
    if beyond and not has_token():
        _shut_down(ray)
        raise DeviceError(
            f"Ray at {address} has a node at {beyond[0]}, beyond this machine, and no token; {TOKEN_ADVICE}"
        )
