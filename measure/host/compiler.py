"""LLVM in a process of its own: where it aborts on a kernel, the process ends and the run goes on.

The child answers in the frames of process.py: text of a module in, object file out.
"""

import json
import os
import struct
import sys
from dataclasses import asdict
from typing import Any

from tilewright.compiler_core.codegen.machine.cpu import Machine
from tilewright.compiler_core.errors import ConfigError
from tilewright.measure.host.process import ChildDiedError, ChildHungError, HostProcess

DEADLINE_S = 60.0


class Compiler:
    """Objects of modules, by a child that is started when it is first needed.

    `level`: 2 for code that is measured, 0 for code that runs once.
    """

    def __init__(self, level: int = 2) -> None:
        self._level = level
        self._process = HostProcess((sys.executable, "-m", "tilewright.measure.host.compiler", str(level)))

    def object_of(self, text: str, machine: Machine) -> bytes:
        """The object file of a module; ConfigError where LLVM refuses it, crashes on it or does not end."""
        asked = {"machine": asdict(machine), "level": self._level}
        try:
            answer = self._process.ask(asked, text.encode(), DEADLINE_S)
        except ChildDiedError as error:
            raise ConfigError(f"LLVM aborts on this kernel; {error}") from None
        except ChildHungError:
            raise ConfigError(f"LLVM takes more than {DEADLINE_S:.0f} s for this kernel") from None
        if "refused" in answer:
            raise ConfigError(answer["refused"])
        made: bytes = answer["data"]
        return made

    @property
    def pid(self) -> int:
        """The child's process; 0 without one."""
        return self._process.pid

    def close(self) -> None:
        """End the child."""
        self._process.close()


def _answer(asked: dict[str, Any], text: str) -> tuple[dict[str, Any], bytes]:
    from tilewright.compiler_core.codegen.machine.native import object_of

    try:
        made = object_of(text, Machine(**asked["machine"]), asked["level"])
    except ConfigError as error:
        return {"refused": str(error)}, b""
    return {"bytes": len(made)}, made


def _exactly(count: int) -> bytes:
    data = sys.stdin.buffer.read(count)
    if len(data) < count:
        sys.exit(0)
    return data


def main() -> None:
    """Answer requests until the parent is gone."""
    if int(sys.argv[1]) == 0:
        from tilewright.compiler_core.codegen.machine.native import compile_in_haste

        compile_in_haste()
    out = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(out, "wb") as pipe:
        while True:
            asked = json.loads(_exactly(struct.unpack("<I", _exactly(4))[0]))
            answer, data = _answer(asked, _exactly(asked["bytes"]).decode())
            text = json.dumps(answer).encode()
            pipe.write(struct.pack("<I", len(text)) + text + data)
            pipe.flush()


if __name__ == "__main__":
    main()
