"""What a confined process cannot do, one kind of misbehaviour after the other, each in a fork of its own."""

import ctypes
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tilewright.api.sandbox import landlock, questions, reader
from tilewright.api.sandbox.questions import LONGEST_ERROR, bounded, plain
from tilewright.measure.host import seccomp

ROOT = Path(__file__).parents[3]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's; elsewhere limits are all")

MISDEEDS = {
    "open a socket": "import socket; socket.socket()",
    "open a local socket": "import socket; socket.socketpair()",
    "start a program": "import subprocess; subprocess.run(['/bin/true'])",
    "replace itself": "os.execv('/bin/true', ['true'])",
    "fork": "os.fork()",
    "start a thread": "import threading; threading.Thread(target=print).start()",
    "leave grandchildren": "[os.posix_spawn('/bin/sleep', ['sleep', '60'], {}) for _ in range(50)]",
    "signal the parent": "os.kill(os.getppid(), 0)",
    "kill everything": "os.kill(-1, 9)",
    "signal its group": "os.killpg(0, 0)",
    "signal by pidfd": "os.pidfd_open(os.getppid())",
    "read the parent's memory": "open(f'/proc/{os.getppid()}/mem', 'rb')",
    "write the parent's memory": "open(f'/proc/{os.getppid()}/mem', 'wb')",
    "read memory by a call": "call(310, os.getppid(), 0, 0, 0, 0, 0)",
    "write memory by a call": "call(311, os.getppid(), 0, 0, 0, 0, 0)",
    "trace the parent": "call(101, 16, os.getppid(), 0, 0)",
    "read the parent's environment": "open(f'/proc/{os.getppid()}/environ', 'rb').read()",
    "read its own environment": "open('/proc/self/environ', 'rb').read()",
    "read the victim": "open(victim).read()",
    "read passwords": "open('/etc/passwd').read()",
    "list a home": "os.listdir(os.path.expanduser('~'))",
    "overwrite a file": "open(victim, 'w')",
    "append to a file": "open(victim, 'a')",
    "truncate by name": "os.truncate(victim, 0)",
    "truncate an open file": "os.ftruncate(os.open(victim, os.O_RDONLY), 0)",
    "unlink": "os.unlink(victim)",
    "rename": "os.rename(victim, victim + '2')",
    "link": "os.link(victim, victim + '2')",
    "link by name": "os.symlink('/etc', victim + '2')",
    "make a folder": "os.mkdir(victim + '2')",
    "make a pipe with a name": "os.mkfifo(victim + '2')",
    "make a device": "os.mknod(victim + '2')",
    "change rights": "os.chmod(victim, 0o777)",
    "change an owner": "os.chown(victim, 0, 0)",
    "change times": "os.utime(victim)",
    "set an attribute": "os.setxattr(victim, 'user.x', b'1')",
    "make a nameless file": "os.memfd_create('x')",
    "write beside the model": "open(os.path.join(folder, 'x'), 'w')",
    "mount": "call(165, 0, 0, 0, 0, 0)",
    "leave the root": "os.chroot('/')",
    "new namespaces": "call(272, 0x10000000)",
    "raise its limits": "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))",
    "become another": "os.setuid(0); os.setgid(1)",
    "raise its priority": "os.setpriority(os.PRIO_PROCESS, 0, -20)",
    "load a program into the kernel": "call(321, 0, 0, 0)",
    "use rings": "call(425, 1, 0)",
    "read keys": "call(250, 0, 0, 0, 0, 0)",
    "open by handle": "call(304, 0, 0, 0)",
    "set the clock": "import time; time.clock_settime(time.CLOCK_REALTIME, 0.0)",
    "much memory": "bytearray(1 << 31)",
    "allow itself everything": "call(157, 22, 2, 0)",
    "become traceable": "call(157, 4, 1, 0, 0)",
}
PROBE = """
import ctypes, json, os, sys
from pathlib import Path
from tilewright.api.sandbox.confine import confine
misdeeds, folder, victim = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    if libc.syscall(number, *map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

for name, code in misdeeds.items():
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        said = "was allowed"
        try:
            confine(1024, 5, theirs, [Path(folder)])
            exec(code)
        except BaseException as error:
            said = f"{type(error).__name__} {getattr(error, 'errno', None)}"
        os.write(theirs, said.encode())
        os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as pipe:
        print(json.dumps([name, pipe.read().decode()]), flush=True)
    os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What became of each misdeed: the class of the error, or that it was allowed."""
    home = tmp_path_factory.mktemp("sandbox")
    folder, victim = home / "model", home / "victim"
    folder.mkdir()
    victim.write_text("precious")
    here = os.uname().machine == "x86_64"
    attempts = {name: code for name, code in MISDEEDS.items() if here or "call(" not in code}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(attempts), str(folder), str(victim)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert victim.read_text() == "precious"
    assert sorted(path.name for path in home.iterdir()) == ["model", "victim"]
    return dict(json.loads(line) for line in done.stdout.splitlines())


NEEDS_LANDLOCK = {
    "read the parent's environment",
    "read its own environment",
    "read the parent's memory",
    "read the victim",
    "read passwords",
    "list a home",
}

REFUSALS = ("PermissionError", "MemoryError", "RuntimeError", "OSError", "ValueError")


@LINUX
@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_a_confined_process_cannot(misdeed: str, tried: Mapping[str, str]) -> None:
    if misdeed not in tried:
        pytest.skip("written with the call numbers of another machine")
    if misdeed in NEEDS_LANDLOCK and not landlock.version():
        pytest.skip("this kernel has no Landlock: files can be read")
    assert tried[misdeed].split()[0] in REFUSALS, tried[misdeed]


@LINUX
def test_a_confined_process_still_imports_a_model(tmp_path: Path) -> None:
    from tests.onnx_models import saved, two_parts

    path = saved(two_parts(), tmp_path)
    program = textwrap.dedent(
        """
        import json, sys
        from tilewright.api.sandbox.reader import answer_apart, load_code
        load_code()
        for question in json.loads(sys.argv[1]):
            print(json.dumps(answer_apart(question, 2048, 20)))
        """
    )
    targets = (
        "name = 1",
        ".".join("a" * 30_000) + " = 1",
        "a = " + "[" * 20_000,
        "a = 1" + "0" * 5_000,
        "no preset",
    )
    asked = [
        {"kind": "model", "path": str(path)},
        {"kind": "model", "path": str(tmp_path / "none.onnx")},
        *({"kind": "spec", "text": json.dumps({"target": text})} for text in targets),
        {"kind": "other"},
        {"kind": "spec", "text": '{"level": 7}'},
        {"kind": "spec", "text": "[" * 30_000},
        {"kind": "spec", "text": json.dumps({"target": "ascend910", "inputs": {"x": []}})},
    ]
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(asked)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    model, *errors, level, depth, good = map(json.loads, done.stdout.splitlines())
    assert model["ops"] > 0
    assert all(list(error) == ["error"] for error in errors), errors
    assert [where for where, _ in level["faults"]] == ["target", "level"]
    assert "recursion" in depth["faults"][0][1]
    assert good == {"name": "ascend910"}
    assert "30000 parts" in errors[2]["error"]


@pytest.mark.parametrize(
    "said",
    [
        [1],
        {"ops": "many", "symbols": []},
        {"ops": 1, "symbols": ["x" * 1000]},
        {"ops": 1, "symbols": ["batch\\u202e"]},
        {"ops": 1, "symbols": [], "more": 1},
        {"error": "text", "ops": 1},
        {"name": 3},
        {"faults": []},
        {"faults": ["level"]},
        {"faults": [["level", 7]]},
        {"faults": [["level", "wrong"]] * 21},
    ],
)
def test_answers_of_another_shape_are_none(said: Any) -> None:
    with pytest.raises(ValueError, match="no known shape"):
        bounded(json.loads(json.dumps(said).replace("\\\\u202e", "\\u202e")))


def test_errors_are_short_and_printable() -> None:
    assert len(bounded({"error": "x" * (1 << 20)})["error"]) == LONGEST_ERROR
    assert plain("two\nlines\x1b[31m\u202e", 100) == "two lines\\x1b[31m\\u202e"


def test_filters_hold_for_both_machines() -> None:
    """Every jump of the filter ends inside it, on a return."""
    for machine in seccomp.PLAIN:
        code = seccomp.filter_for(machine)
        lines = [
            (int.from_bytes(code[index : index + 2], "little"), code[index + 2], code[index + 3])
            for index in range(0, len(code), 8)
        ]
        assert lines[-1][0] == seccomp.RETURN
        for index, (operation, when_true, when_false) in enumerate(lines):
            if operation in (seccomp.EQUAL, seccomp.AT_LEAST, seccomp.ANY_BIT):
                assert index + 1 + max(when_true, when_false) < len(lines)


def test_constants_are_those_of_this_system() -> None:
    assert reader.LONGEST_ANSWER <= 1 << 16
    assert questions.MOST_SYMBOLS * questions.LONGEST_SYMBOL < reader.LONGEST_ANSWER * 4
    assert ctypes.sizeof(ctypes.c_long) == 8
