"""A host's part in a farm: a Ray node that offers its devices; joins, joins again, and leaves in order.

Leaving in order means that the cluster is told first: nothing new comes, drivers let the workers here finish
what they have (they look every two seconds), and the node goes when its last worker has gone.
"""

import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from tilewright.compiler_core.errors import DeviceError, UsageError
from tilewright.measure.ray_farm.cluster import CONNECT_S, RESOURCE
from tilewright.measure.ray_farm.private import (
    node_command,
    private_directory,
    require_token,
    settle_environment,
    start_reaper,
)
from tilewright.measure.ray_farm.reaper import marked

LOOK_S = 0.2
JOIN_AGAIN_S = 2.0  # between two attempts to come back after a cut or a new head
SILENCE_S = 10.0  # without a word of the head's host before a node is given up, and a fresh one joins
END_S = 10.0  # for Ray to end its processes before they are killed
log = logging.getLogger("tilewright.farm")


def serve_farm(address: str, kind: str, slots: int, grace_s: float, stop: threading.Event) -> None:
    """Offer `slots` devices of a kind to the farm at `address` until `stop`, then drain within `grace_s`.

    DeviceError, once, when the address is beyond this machine without a token or nobody answers there;
    later the node joins again by itself, after any fault of the head or the network.
    """
    if slots < 1:
        raise UsageError(f"{slots} slots offer nothing; give at least 1")
    require_token(address)
    settle_environment(private=False)
    if not _answers(address):
        raise DeviceError(f"no Ray answers at {address}; start one there with `ray start --head`")
    reaper = start_reaper()
    mark = str(private_directory())
    try:
        while not stop.is_set():
            if _answers(address):
                _serve_once(address, kind, slots, grace_s, stop, mark)
            stop.wait(JOIN_AGAIN_S)
    finally:
        reaper.communicate("in order")


def _serve_once(
    address: str, kind: str, slots: int, grace_s: float, stop: threading.Event, mark: str
) -> None:
    """One membership: it ends when `stop` is set, when the head's host is out of reach, or by itself.

    Ray brings a node back after a short cut. After a longer one the cluster has given the node up, which it
    learns only when its old connections time out, up to two minutes later: a fresh node is there in seconds.
    """
    log.warning("joining %s with %d x %s", address, slots, kind)
    command = node_command(address, {RESOURCE + kind: slots})
    output = Path(mark) / "node.log"
    with output.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as node:
        heard_s = time.monotonic()
        while node.poll() is None and not stop.wait(LOOK_S) and time.monotonic() < heard_s + SILENCE_S:
            if not _silent(address):
                heard_s = time.monotonic()
        if node.poll() is None:
            if stop.is_set():
                _drain(address, grace_s, mark)
            node.send_signal(signal.SIGTERM)
            try:
                node.wait(END_S)
            except subprocess.TimeoutExpired:
                node.kill()
            log.warning("left %s%s", address, "" if stop.is_set() else ", whose host is out of reach")
        else:
            tail = " ".join(output.read_text().split())[-200:]
            log.warning("the node at %s ended by itself (code %s): %s", address, node.returncode, tail)


def _drain(address: str, grace_s: float, mark: str) -> None:
    """Notify the cluster, and wait for the last worker here to be released; the rest is then cut short."""
    node = _node_id(mark)
    if node is None or not _announce(address, node, grace_s):
        return
    log.warning("draining: no new work comes, work under way may finish within %g s", grace_s)
    end_s = time.monotonic() + grace_s
    while time.monotonic() < end_s and _measuring(mark):
        time.sleep(LOOK_S)


def _announce(address: str, node: str, grace_s: float) -> bool:
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", f"--address={address}"]
    command += [f"--node-id={node}", "--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=leaving"]
    command += [f"--deadline-remaining-seconds={round(grace_s) + 5}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30.0, check=False)
    except subprocess.TimeoutExpired:
        return False
    if done.returncode != 0:
        log.warning(
            "the cluster could not be notified of the drain: %s", " ".join(done.stderr.split())[-200:]
        )
    return done.returncode == 0


def _node_id(mark: str) -> str | None:
    """The cluster's id of our node, from its raylet's command line."""
    for pid in marked(mark):
        for word in _command_line(pid):
            if word.startswith("--node_id="):
                return word.partition("=")[2]
    return None


def _measuring(mark: str) -> bool:
    """Whether a worker of some pool is alive here."""
    return any("FarmWorker" in word for pid in marked(mark) for word in _command_line(pid)[:1])


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _answers(address: str) -> bool:
    """Whether the head takes connections."""
    return _knock(address) is None


def _silent(address: str) -> bool:
    """Whether the head's host does not even refuse a connection: the way there is cut."""
    error = _knock(address)
    return error is not None and not isinstance(error, ConnectionRefusedError)


def _knock(address: str) -> OSError | None:
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        raise UsageError(f"{address!r} is no Ray address; it must read HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        return error
    return None
