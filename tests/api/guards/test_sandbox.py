"""What a confined process cannot do, one kind of misbehaviour after the other, each in a fork of its own."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.api.guards.misdeeds import MISDEEDS
from tilewright.api.sandbox import landlock, questions, reader
from tilewright.api.sandbox.questions import LONGEST_ERROR, bounded, plain
from tilewright.measure.host import seccomp

ROOT = Path(__file__).parents[3]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's; elsewhere limits are all")

PROBE = """
import ctypes, json, os, sys
from pathlib import Path
from tilewright.api.sandbox.confine import confine
misdeeds, folder, victim = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
libc = ctypes.CDLL(None, use_errno=True)
kept = []
os.dup2(os.open(victim, os.O_RDWR), 200)

def room(text=bytes(256)):
    kept.append(ctypes.create_string_buffer(text))
    return ctypes.addressof(kept[-1])

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
    (folder / "way out").symlink_to(victim)
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
    "open a device",
    "read its own memory as a file",
    "climb out of its folder",
    "follow a link out of its folder",
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


Answer = Callable[[Mapping[str, Any]], Any]


def forged(said: bytes, then: Callable[[], Any]) -> Answer:
    """Bytes of its own into whatever is open, and then something else."""

    def action(question: Mapping[str, Any]) -> Any:
        for descriptor in range(64):
            with suppress(OSError):
                os.write(descriptor, said)
        return then()

    return action


def deaf_and_busy() -> None:
    """A loop that no signal ends, but the one that nobody can refuse."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGXCPU, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    while True:
        pass


def deaf_mute() -> None:
    """Nothing is open any more."""
    os.closerange(0, 1 << 16)
    time.sleep(60)


GOOD, QUIT = b'{"ops": 1, "symbols": []}', partial(os._exit, 0)


@pytest.mark.parametrize(
    ("action", "ended"),
    [
        (lambda question: time.sleep(60), "slow"),
        (lambda question: os._exit(1), "died"),
        (lambda question: {"error": "x" * (2 << 20)}, "slow"),
        (lambda question: [1, 2], "died"),
        (lambda question: deaf_mute(), "died"),
        (forged(GOOD + b"\n" + GOOD, QUIT), "died"),
        (forged(GOOD, lambda: {"ops": 2, "symbols": []}), "died"),
        (forged(GOOD, deaf_and_busy), "slow"),
        (forged(b'{"ops": ' + b"9" * 60_000 + b', "symbols": []}', QUIT), "died"),
        (forged(b"[" * 60_000, QUIT), "died"),
        (forged(b"\xff\xfe", QUIT), "died"),
    ],
)
def test_whatever_a_file_does_to_its_reader_is_one_answer(
    action: Answer, ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "answer", action)
    assert reader.answer_apart({"kind": "model", "path": "model.onnx"}, 8192, 1) == {"ended": ended}


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
