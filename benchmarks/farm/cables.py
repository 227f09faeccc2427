"""A farm of three hosts, its cables pulled: is work leased again in time, and no answer counted twice?"""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.farm.hosts import Host, Hosts, send_signal

Row = dict[str, Any]
KIND = "gemmini16"
SLOTS = 2
PATIENCE_S = 600.0  # a busy machine takes minutes to start a process


class Watched:
    """A driver on a host of the farm, and what it says of itself (benchmarks/farm/driver.py)."""

    def __init__(self, hosts: Hosts, host: Host, pace_s: float) -> None:
        command = [
            sys.executable,
            "-m",
            "benchmarks.farm.driver",
            hosts.head,
            KIND,
            str(pace_s),
            str(2 * SLOTS),
        ]
        pipe = subprocess.PIPE
        self._process = host.start(command, hosts.with_token(), stdin=pipe, stdout=pipe)

    def until(self, true: Callable[[Row], bool], patience_s: float = PATIENCE_S) -> Row:
        """The first status that is as wished for; RuntimeError when none is in time."""
        assert self._process.stdout is not None
        end_s = time.monotonic() + patience_s
        status: Row = {}
        while time.monotonic() < end_s and (line := self._process.stdout.readline()):
            status = json.loads(line)
            if true(status):
                return status
        raise RuntimeError(f"the driver (code {self._process.poll()}) stayed at {status}")

    def stop(self) -> Row:
        """End it in order; its last words."""
        assert self._process.stdin is not None
        self._process.stdin.write("stop\n")
        self._process.stdin.flush()
        last = self.until(lambda status: "trials" in status)
        self._process.wait()
        return last


@dataclass(frozen=True)
class Farm:
    """A head, two hosts that joined it with SLOTS devices each, and a driver on the head's host."""

    hosts: Hosts
    members: dict[str, "subprocess.Popen[str]"]  # `tune worker`, by host
    driver: Watched


@contextmanager
def farm_of_three_hosts() -> Iterator[Farm]:
    """All at work when the context begins, and nothing left when it ends."""
    with Hosts(3) as hosts:
        hosts.start_head()
        members = {host.name: join(hosts, host) for host in hosts.all[1:]}
        farm = Farm(hosts, members, Watched(hosts, hosts.all[0], pace_s=0.1))
        farm.driver.until(everybody_works)
        yield farm


def join(hosts: Hosts, host: Host) -> "subprocess.Popen[str]":
    """`tune worker` on a host."""
    program = "import sys; from tilewright.api.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "worker", f"--ray={hosts.head}", f"--target={KIND}"]
    return host.start([*command, f"--slots={SLOTS}"], hosts.with_token(), stderr=subprocess.DEVNULL)


def everybody_works(status: Row) -> bool:
    """Whether both hosts have all their workers, with calls at them."""
    whole = [host for host, number in status.get("ready", {}).items() if number >= SLOTS]
    return len(whole) >= 2 and all(status["hosts"][host] > 0 for host in whole)


def idle(host: Host) -> Callable[[Row], bool]:
    """Whether no call is at the host any more."""
    return lambda status: status["hosts"].get(host.name, 0) == 0


def cut_cables(farm: Farm, cuts: int, seed: int, longest_s: float = 25.0) -> Row:
    """Pull a host's cable in the middle of its work, put it back, and wait for the host to be whole again.

    Some of the cuts are shorter than what Ray needs to give a host up, some are longer.
    """
    chance = random.Random(seed)
    released, back = [], []
    for _ in range(cuts):
        host = chance.choice(farm.hosts.all[1:])
        farm.driver.until(everybody_works)
        farm.hosts.cut(host)
        cut_s = time.monotonic()
        released.append(farm.driver.until(idle(host))["at_s"] - cut_s)
        time.sleep(chance.uniform(0.0, longest_s))
        farm.hosts.heal(host)
        healed_s = time.monotonic()
        back.append(farm.driver.until(everybody_works)["at_s"] - healed_s)
        times = f"out for {healed_s - cut_s:.1f} s, released after {released[-1]:.1f} s"
        print(f"cut {len(back)}: {times}, back after {back[-1]:.1f} s", flush=True)
    return {"task": "cuts", "cuts": cuts, "worst_release_s": max(released), "worst_return_s": max(back)}


def leave_in_order(farm: Farm) -> Row:
    """SIGTERM for one of two hosts that measure, and another in its place."""
    leaver = farm.hosts.all[1]
    farm.driver.until(everybody_works)
    began_s = time.monotonic()
    send_signal(farm.members[leaver.name], signal.SIGTERM)
    farm.driver.until(lambda status: status["ready"].get(leaver.name, 0) == 0)
    code = farm.members[leaver.name].wait()
    left_s = time.monotonic() - began_s
    farm.members[leaver.name] = join(farm.hosts, leaver)
    farm.driver.until(everybody_works)
    return {"task": "leaving", "code": code, "left_s": left_s}


def uninvited(farm: Farm) -> Row:
    """Who gets in from another host without the farm's token, with a wrong one, and with the right one.

    A driver, on a host that is in the cluster; a new node; a bare call to the head's store. Ray's
    job server and its client server have to be closed.
    """
    ways = {
        "driver": "import ray, sys; ray.init(address=sys.argv[1], logging_level='CRITICAL')",
        "store": "import sys; from ray._raylet import GcsClient; "
        "GcsClient(address=sys.argv[1]).internal_kv_keys(b'')",
        "node": "import sys; from ray.scripts.scripts import main; "
        "sys.argv[1:] = ['start', '--address=' + sys.argv[1], '--num-cpus=0']; main()",
    }
    keys = {
        "none": {},
        "wrong": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
        "right": farm.hosts.with_token(),
    }
    visitor, quiet = farm.hosts.all[1], subprocess.DEVNULL
    attempts = {
        (key, way): visitor.start(
            [sys.executable, "-c", program, farm.hosts.head],
            {"RAY_NUM_REDIS_GET_RETRIES": "3"} | environment,  # a second each
            stdout=quiet,
            stderr=quiet,
        )
        for key, environment in keys.items()
        for way, program in ways.items()
    }
    let_in: dict[str, list[str]] = {key: [] for key in keys}
    for (key, way), attempt in attempts.items():
        if attempt.wait() == 0:
            let_in[key].append(way)
    for way, port in (("job server", 8265), ("client server", 10001)):
        if farm.hosts.opens(visitor, farm.hosts.all[0].address, port):
            let_in["none"].append(way)
    return {"task": "uninvited", **let_in}


def network_cuts(cuts: int, seed: int) -> Row:
    """The campaign: so many cuts, one after the other, and what the driver says in the end."""
    with farm_of_three_hosts() as farm:
        row = cut_cables(farm, cuts, seed)
        return row | farm.driver.stop()
