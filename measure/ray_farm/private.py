"""A safe and tidy Ray: a token, quiet settings, a private directory, and a reaper.

Ray listens on every interface of its host under any address, so a local one gets a token of its
own, in a directory that only this user can read and that goes away with the process; anything beyond this
machine is refused without one. Environment is read and set here and nowhere else on the measuring side.
"""

import atexit
import ipaddress
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tilewright.compiler_core.errors import DeviceError
from tilewright.measure.ray_farm import reaper as ray_reaper
from tilewright.measure.ray_farm.reaper import MARK

TOKEN_ADVICE = "export RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH on every host of the farm"

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_enable_metrics_collection": "0",
    # Ray ends any process that misses its head for a minute, the caller's too; the pool looks after that.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "86400",
    # Ray's 15 starves a worker beside other work: on a busy machine it misses its start, and is replaced.
    "RAY_worker_niceness": "0",
    # Processes that a device started end with its worker.
    "RAY_process_group_cleanup_enabled": "true",
}


def settle_environment(private: bool) -> None:
    """Settings that Ray reads once, at its import; a private Ray gets a token unless there is one."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if private:
        os.environ["RAY_AUTH_MODE"] = "token"
        if "RAY_AUTH_TOKEN" not in os.environ and "RAY_AUTH_TOKEN_PATH" not in os.environ:
            token = private_directory() / "token"
            token.touch(mode=0o600)
            token.write_text(secrets.token_hex(32))
            os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)


def has_token() -> bool:
    """Whether this process talks to Ray with a token, and to no Ray that goes without."""
    return os.environ.get("RAY_AUTH_MODE") == "token"


def require_token(address: str) -> None:
    """DeviceError for an address beyond this machine where no token is set."""
    if not address:
        raise DeviceError('no Ray address was given; say "local" or HOST:PORT')
    if not is_loopback(address) and not has_token():
        raise DeviceError(f"Ray at {address} is beyond this machine and no token is set; {TOKEN_ADVICE}")


def is_loopback(address: str) -> bool:
    """Whether HOST:PORT can only be reached from this machine."""
    host = address.removeprefix("ray://").rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def node_command(address: str, resources: dict[str, int]) -> list[str]:
    """The command line that makes this host a node of the cluster at `address`, until it is ended."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={address}", "--block"]
    return [*command, "--num-cpus=0", f"--resources={json.dumps(resources)}", "--disable-usage-stats"]


def start_reaper() -> "subprocess.Popen[str]":
    """A process that ends all processes with our mark as soon as its standard input closes."""
    private = str(private_directory())
    reaper = subprocess.Popen(
        [sys.executable, "-I", ray_reaper.__file__, private],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,  # closes when it has done its work
        text=True,
        start_new_session=True,  # an interrupt from the keyboard is not for it
    )
    os.environ[MARK] = private
    return reaper


@cache
def private_directory() -> Path:
    """Ours alone (mode 0700), for the token and Ray's files; one a process: Ray reads a token only once."""
    path = Path(tempfile.mkdtemp(prefix="tilewright-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path
