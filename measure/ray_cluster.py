"""The Ray that a pool's workers live in: a private local one, or a cluster at an address, with a token.

Ray listens on every interface of its host whatever address it is given, so a local one gets a token of its
own, in a directory that only this user can read and that goes away with the process. Environment is read and
set here and nowhere else on the measuring side.
"""

import atexit
import ipaddress
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from compiler_core.errors import DeviceError
from measure import ray_warden
from measure.ray_warden import MARK

LOCAL = "local"
LOCAL_KIND = "tilewright_local"  # what every worker of a private local Ray asks for, whatever its device
LOCAL_SLOTS = 4096
OBJECT_STORE_BYTES = 80 * 2**20  # Ray refuses less than 75 MiB; calls and answers are small texts
DOOR_S = 2.0
TOKEN_ADVICE = "export RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH on every host of the farm"
RESOURCE = "device_"  # prefix of the custom resource that a node offers, one unit a device

_lock = threading.Lock()
_users = 0
_started_here = False
_epoch = 0  # counts connections, so that of several pools only the first replaces a broken one
_warden: "subprocess.Popen[str] | None" = None


@dataclass(frozen=True)
class Cluster:
    """A connection to Ray. `resource` is what one worker of the pool's kind asks for."""

    ray: Any
    address: str
    resource: str
    epoch: int
    doors: tuple[tuple[str, int], ...]  # host and port of what must be alive for workers to be started

    def offered(self) -> int:
        """How many workers of the kind the cluster's nodes can hold, busy or not."""
        return int(self.ray.cluster_resources().get(self.resource, 0))

    def alive(self) -> bool:
        """Whether the head still takes connections. Ray itself would find out after a minute, and exit."""
        for door in self.doors:
            try:
                socket.create_connection(door, timeout=DOOR_S).close()
            except OSError:
                return False
        return True


def connect(address: str, kind: str, workers: int) -> Cluster:
    """Join the cluster at `address`, or start a private one for "local"; pair with `disconnect`.

    Several pools of one process share one connection. DeviceError when the address is bare, unreachable, or
    beyond this machine without a token.
    """
    global _users, _started_here
    if not address:
        raise DeviceError('no Ray address was given; say "local" or HOST:PORT')
    if address != LOCAL and not _is_loopback(address) and os.environ.get("RAY_AUTH_MODE") != "token":
        raise DeviceError(f"Ray at {address} is beyond this machine and no token is set; {TOKEN_ADVICE}")
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


def disconnect(cluster: Cluster) -> None:
    """Give the connection back; the last one out ends a private Ray and every process of it."""
    global _users
    with _lock:
        _users -= 1
        if _users == 0 and _started_here:
            _shut_down(cluster.ray)


def join(address: str, kind: str, devices: int) -> int:
    """Offer this host's `devices` of a kind to the farm at `address`, until stopped; Ray's exit code."""
    if not _is_loopback(address) and os.environ.get("RAY_AUTH_MODE") != "token":
        raise DeviceError(f"Ray at {address} is beyond this machine and no token is set; {TOKEN_ADVICE}")
    resources = json.dumps({RESOURCE + kind: devices})
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={address}", "--block"]
    command += [f"--resources={resources}", f"--num-cpus={devices}", "--disable-usage-stats"]
    return subprocess.run(command, check=False).returncode


def _shut_down(ray: Any) -> None:
    global _started_here, _warden
    ray.shutdown()
    _started_here = False
    if _warden is not None:
        _warden.communicate("in order")
        _warden = None


def _cluster(ray: Any, address: str, kind: str) -> Cluster:
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    doors = [(host, int(port))]
    if address == LOCAL:
        doors += [(node["NodeManagerAddress"], node["NodeManagerPort"]) for node in ray.nodes()]
    resource = LOCAL_KIND if address == LOCAL else RESOURCE + kind
    return Cluster(ray, address, resource, _epoch, tuple(doors))


def _import_ray(private: bool) -> Any:
    quiet = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_DEDUP_LOGS": "0",
        "RAY_enable_metrics_collection": "0",
        # Ray ends any process that misses its head for a minute, the caller's too; the pool looks after that.
        "RAY_gcs_rpc_server_reconnect_timeout_s": "86400",
        # What a device started goes when its worker does.
        "RAY_process_group_cleanup_enabled": "true",
    }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    if private:
        os.environ["RAY_AUTH_MODE"] = "token"
        if "RAY_AUTH_TOKEN" not in os.environ and "RAY_AUTH_TOKEN_PATH" not in os.environ:
            token = _private_directory() / "token"
            token.touch(mode=0o600)
            token.write_text(secrets.token_hex(32))
            os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
    import ray  # 0.5 s, and only where something is measured

    return ray


def _initialise(ray: Any, address: str, workers: int) -> None:
    global _epoch
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
            "_temp_dir": str(_private_directory() / "ray"),
        }
        _post_warden()
    try:
        ray.init(**options)
    except Exception as error:  # noqa: BLE001 - Ray raises ConnectionError, ValueError, RuntimeError...
        reason = " ".join(str(error).split())[:300]
        raise DeviceError(f"Ray at {address} cannot be reached: {type(error).__name__}: {reason}") from None
    finally:
        os.environ.pop(MARK, None)
    _epoch += 1
    # log_to_driver does not cover the page that Ray prints for every dead worker; the pool keeps the reasons.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None


def _post_warden() -> None:
    global _warden
    private = str(_private_directory())
    _warden = subprocess.Popen(
        [sys.executable, "-I", ray_warden.__file__, private],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,  # closes when it has done its work
        text=True,
        start_new_session=True,  # an interrupt from the keyboard is not for it
    )
    os.environ[MARK] = private


@cache
def _private_directory() -> Path:
    """Ours alone (mode 0700), for the token and Ray's files; one a process: Ray reads a token only once."""
    path = Path(tempfile.mkdtemp(prefix="tilewright-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def _is_loopback(address: str) -> bool:
    host = address.removeprefix("ray://").rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
