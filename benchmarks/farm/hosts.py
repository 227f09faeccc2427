"""Three hosts on one machine: network namespaces on a bridge, each with processes and files of its own.

Needs root and iproute2. A host that is cut loses its port on the bridge: nothing arrives any more, and nobody
is told, as with a pulled cable or a dead switch.
"""

import os
import secrets
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from types import TracebackType
from typing import Self

PORT = 6379
ROOT = Path(__file__).parents[2]


def namespaces_missing() -> str:
    """Why this machine cannot play several hosts; "" when it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "unshare", "nsenter"):
        if shutil.which(tool) is None:
            return f"network namespaces need {tool}"
    bridge = _probe("ip", "link", "add", "tw-probe", "type", "bridge")
    if bridge:
        return f"no bridge can be made here: {bridge}"
    _ip("link", "del", "tw-probe")
    named = _probe("ip", "netns", "add", "tw-probe")
    if named:
        return f"no network namespace can be made here: {named}"
    _ip("netns", "del", "tw-probe")
    own = _probe(
        "unshare", "--pid", "--fork", "--mount", "--mount-proc", "--uts", "mount", "-t", "tmpfs", "t", "/mnt"
    )
    return f"no files of its own for a host: {own}" if own else ""


def _probe(*command: str) -> str:
    """What a command complains of; "" when it succeeds."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"


@dataclass(frozen=True)
class Host:
    """One of them: its name, its address, and the process that keeps its namespaces open."""

    name: str
    address: str
    port: str  # its end on the bridge
    keeper: int
    started: "list[subprocess.Popen[str]]" = field(default_factory=list, compare=False)

    def start(
        self,
        command: list[str],
        environment: dict[str, str],
        *,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> "subprocess.Popen[str]":
        """Run a command on this host, with nothing of our own Ray settings in its environment."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        inherited["PYTHONPATH"] = str(ROOT)  # a host's process starts in /, where `benchmarks` is not found
        process = subprocess.Popen(
            ["nsenter", "-t", str(self.keeper), "-n", "-p", "-m", "-u", "--", *command],
            env=inherited | environment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
            cwd=ROOT,
        )
        self.started.append(process)
        return process


class Hosts:
    """`count` hosts that reach each other, as a context; everything on them ends with it."""

    def __init__(self, count: int) -> None:
        self._id = secrets.token_hex(2)
        self._bridge = f"twb{self._id}"
        self._count = count
        self._keepers: list[subprocess.Popen[bytes]] = []
        self.token = secrets.token_hex(32)
        self.all: tuple[Host, ...] = ()

    @property
    def head(self) -> str:
        """The Ray address of the first host."""
        return f"{self.all[0].address}:{PORT}"

    def with_token(self) -> dict[str, str]:
        """What a process needs in its environment to belong to the farm."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}

    def start_head(self) -> "subprocess.Popen[str]":
        """A Ray head on the first host; returns when its own node is up."""
        host = self.all[0]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", f"--port={PORT}"]
        command += [f"--node-ip-address={host.address}", "--num-cpus=0", "--disable-usage-stats", "--block"]
        command += ["--include-dashboard=false"]
        head = host.start(command, self.with_token(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end_s = time.monotonic() + 120.0
        found = "import sys; from ray._private.services import find_node_ids; sys.exit(not find_node_ids())"
        while host.start([sys.executable, "-c", found], {}).wait() != 0:
            if time.monotonic() > end_s or head.poll() is not None:
                raise RuntimeError(f"Ray's head did not start on {host.name} (code {head.poll()})")
            time.sleep(0.2)
        return head

    def opens(self, host: Host, address: str, port: int) -> bool:
        """Whether a connection from `host` to a port succeeds."""
        program = f"import socket; socket.create_connection(({address!r}, {port}), timeout=2.0)"
        return host.start([sys.executable, "-c", program], {}, stderr=subprocess.DEVNULL).wait() == 0

    def cut(self, host: Host) -> None:
        """From now on nothing reaches the host, and nothing leaves it."""
        _ip("link", "set", host.port, "nomaster")

    def heal(self, host: Host) -> None:
        """The cable is back."""
        _ip("link", "set", host.port, "master", self._bridge)

    def __enter__(self) -> Self:
        _ip("link", "add", self._bridge, "type", "bridge", "forward_delay", "0")
        _ip("link", "set", self._bridge, "up")
        self.all = tuple(self._make(number) for number in range(self._count))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for keeper in self._keepers:
            keeper.kill()  # and with process 1 of its namespace, everything on the host
            keeper.wait()
        for process in (process for host in self.all for process in host.started):
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with suppress(BrokenPipeError):  # what was still to be written has no reader any more
                        stream.close()
        for number in range(len(self._keepers)):
            _ip("netns", "del", self._name(number))
        _ip("link", "del", self._bridge)

    def _name(self, number: int) -> str:
        return f"tw{self._id}-{number}"

    def _make(self, number: int) -> Host:
        name, port, address = self._name(number), f"twp{self._id}{number}", f"10.77.0.{number + 1}"
        _ip("netns", "add", name)
        _ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", port, "master", self._bridge, "up")
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        # A shell as process 1 buries what its children leave behind.
        # The project may itself lie under the /tmp that every host has of its own.
        project = quote(str(ROOT))
        own = f"mount --bind {project} /mnt && mount -t tmpfs tmpfs /tmp"
        seen = f"mkdir -p {project} && mount --bind /mnt {project}"
        keep = f"{own} && {seen} && hostname {name} && while :; do sleep 60 & wait $!; done"
        command = ["ip", "netns", "exec", name, "unshare", "--pid", "--fork", "--kill-child", "--mount"]
        keeper = subprocess.Popen([*command, "--mount-proc", "--uts", "bash", "-c", keep])
        self._keepers.append(keeper)
        return Host(name, address, port, _child(keeper.pid, name))


def send_signal(process: "subprocess.Popen[str]", number: int) -> None:
    """Signal the command that `Host.start` started: the process at hand only enters the host's namespaces."""
    for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(word), number)


def _child(pid: int, hostname: str) -> int:
    """The process that `unshare` started, once its host is set up."""
    end_s = time.monotonic() + 10.0
    while time.monotonic() < end_s:
        for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            asked = ["nsenter", "-t", word, "-u", "hostname"]
            said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
            if said == hostname:
                return int(word)
        time.sleep(0.05)
    raise RuntimeError(f"host {hostname} did not come up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
