"""The one way in which a file that a user asked for is written.

    before: out.json holds yesterday's answer, or does not exist
    after:  out.json holds all of today's, or what it held before; never a part

A link is followed: its file changes, and it stays a link. A device, a pipe or an open file (/dev/stdout,
/dev/fd/3) is written to as it is. An input of the command is never overwritten. New files get the rights that
the umask leaves, old ones keep theirs.
"""

import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tilewright.compiler_core.errors import UsageError

MOST_LINKS = 40
_OPEN_FILE = re.compile(r"/(dev|proc/self)/fd/(?P<number>\d{1,9})")


@contextmanager
def output(path: str | Path, inputs: Iterable[str | Path] = (), private: bool = False) -> Iterator[IO[bytes]]:
    """A stream of bytes that becomes the file at `path` when the block ends well.

    `inputs` are files that must not be overwritten. A `private` file can be read by its owner only.
    UsageError, one line, where the file cannot be written.
    """
    if "\0" in str(path):
        raise UsageError("cannot write a file whose name holds a NUL; choose another name")
    refuse_inputs(path, inputs)
    opened = _descriptor(path)
    try:
        if opened is not None:
            with os.fdopen(os.dup(opened), "wb") as stream:
                yield stream
            return
        real = Path(os.path.realpath(path))
        if real.is_symlink():
            raise UsageError(f"cannot write {path}: the link leads in circles")
        kind = real.stat().st_mode if real.exists() else stat.S_IFREG
        if stat.S_ISDIR(kind):
            raise UsageError(f"cannot write {path}: it is a folder; name a file")
        if stat.S_ISREG(kind):
            with _whole(real, private) as stream:
                yield stream
        else:
            with real.open("wb") as stream:
                yield stream
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def require_folder(path: Path) -> None:
    """UsageError where `path` is something else than a folder, or the name of a new one."""
    if "\0" in str(path):
        raise UsageError("cannot write into a folder whose name holds a NUL; choose another name")
    if os.path.lexists(path) and not path.is_dir():
        raise UsageError(f"cannot write into {path}: it is no folder")


def refuse_inputs(path: str | Path, inputs: Iterable[str | Path]) -> None:
    """UsageError where `path` is one of the `inputs`, under any name; where nothing is, nothing is lost."""
    if not os.path.exists(path):
        return
    for each in inputs:
        with suppress(OSError):
            if os.path.realpath(path) == os.path.realpath(each) or os.path.samefile(path, each):
                raise UsageError(f"{path} is an input of the command; name another file to write")


def _descriptor(path: str | Path) -> int | None:
    """The open file that a path names, through links too: it may be at its end, and is never replaced."""
    name = os.path.abspath(path)
    for _ in range(MOST_LINKS):
        if found := _OPEN_FILE.fullmatch(name.replace(f"/proc/{os.getpid()}/", "/proc/self/", 1)):
            return int(found["number"])
        if not os.path.islink(name):
            return None
        name = os.path.abspath(os.path.join(os.path.dirname(name), os.readlink(name)))
    return None


def shortened(name: str, most_bytes: int) -> str:
    """The beginning of a name that fits so many bytes: file systems count those, most of them up to 255."""
    return os.fsencode(name)[:most_bytes].decode("utf-8", "ignore")


def write_text(text: str, path: str | Path, inputs: Iterable[str | Path] = ()) -> None:
    """`text` as UTF-8 into the file at `path`; errors as `output`."""
    with output(path, inputs) as stream:
        stream.write(text.encode("utf-8"))


@contextmanager
def _whole(path: Path, private: bool) -> Iterator[IO[bytes]]:
    name = path.with_name(f".{shortened(path.name, 100)}.{secrets.token_hex(8)}")
    handle = _nameless(path.parent, private)
    named = handle is None
    if handle is None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        handle = os.open(name, flags, 0o600 if private else 0o666)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            if path.exists() and not private:
                os.fchmod(handle, stat.S_IMODE(path.stat().st_mode))
            os.fsync(handle)
            if not named:
                _link(handle, name)
                named = True
        name.replace(path)
        named = False
    finally:
        if named:
            name.unlink(missing_ok=True)


def _link(handle: int, name: Path) -> None:
    # Python follows the link in /proc only when it is given a folder to start from.
    folder = os.open(name.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.link(f"/proc/self/fd/{handle}", name.name, dst_dir_fd=folder)
    finally:
        os.close(folder)


def _nameless(folder: Path, private: bool) -> int | None:
    """A file without a name, which vanishes with a killed process; None where the system has none."""
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None or not Path("/proc/self/fd").is_dir():
        return None
    try:
        return os.open(folder, os.O_WRONLY | flag | os.O_CLOEXEC, 0o600 if private else 0o666)
    except OSError:
        return None
