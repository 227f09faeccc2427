"""Files that a user asked for: whole or untouched, never an input."""

import os
import stat
import threading
from pathlib import Path

import pytest

from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.files import outputs
from tilewright.compiler_core.files.outputs import output, write_text


@pytest.fixture(params=["nameless", "named"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on a system with files without names, and on one without."""
    if request.param == "named":
        monkeypatch.setattr(outputs, "_nameless", lambda folder, private: None)
    return tmp_path


def test_a_file_is_replaced_whole_or_not_at_all(folder: Path) -> None:
    path = folder / "out.json"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError):
        _fail_half_way(path)
    assert path.read_text() == "before"
    write_text("after", path)
    assert path.read_text() == "after"
    assert [each.name for each in folder.iterdir()] == ["out.json"]


def _fail_half_way(path: Path) -> None:
    with output(path) as stream:
        stream.write(b"half")
        raise ZeroDivisionError


def test_rights_are_those_of_the_umask_or_of_the_file_before(folder: Path) -> None:
    old = os.umask(0o027)
    try:
        write_text("x", folder / "new")
        (folder / "old").write_text("x")
        (folder / "old").chmod(0o604)
        write_text("y", folder / "old")
        with output(folder / "keys", private=True) as stream:
            stream.write(b"x")
    finally:
        os.umask(old)
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()}
    assert modes == {"new": "0o640", "old": "0o604", "keys": "0o600"}


def test_a_link_stays_a_link(folder: Path) -> None:
    (folder / "there").mkdir()
    target = folder / "there" / "real"
    target.write_text("before")
    link = folder / "link"
    link.symlink_to(target)
    write_text("after", link)
    assert link.is_symlink()
    assert target.read_text() == "after"
    dangling = folder / "dangling"
    dangling.symlink_to(folder / "there" / "new")
    write_text("made", dangling)
    assert (folder / "there" / "new").read_text() == "made"


def test_devices_and_pipes_are_written_to(folder: Path) -> None:
    write_text("x", "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_text("through", pipe)
    reader.join(10)
    assert read == ["through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_inputs_are_never_overwritten(folder: Path) -> None:
    model = folder / "model.onnx"
    model.write_text("model")
    (folder / "link").symlink_to(model)
    os.link(model, folder / "hard")
    for name in ("model.onnx", "link", "hard", "../" + folder.name + "/model.onnx"):
        with pytest.raises(UsageError, match="is an input of the command"):
            write_text("program", folder / name, [folder / "nothing", model])
    assert model.read_text() == "model"


def test_a_link_to_itself_is_refused(folder: Path) -> None:
    (folder / "circle").symlink_to("circle")
    with pytest.raises(UsageError, match="leads in circles"):
        write_text("x", folder / "circle")
    assert (folder / "circle").is_symlink()


def test_an_open_file_is_written_to_and_never_replaced(folder: Path) -> None:
    """`tune db export -o /dev/stdout >> all.jsonl` put a new file in the place of what was there."""
    kept = folder / "all.jsonl"
    kept.write_text("before\n")
    with kept.open("ab") as stream:
        (folder / "link").symlink_to(f"/dev/fd/{stream.fileno()}")
        for name in (f"/dev/fd/{stream.fileno()}", f"/proc/self/fd/{stream.fileno()}", folder / "link"):
            write_text("more\n", name)
    assert kept.read_text() == "before\n" + 3 * "more\n"
    with pytest.raises(UsageError, match="Bad file descriptor"):
        write_text("x", "/dev/fd/4000")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("", "folder"), ("\0", "NUL"), ("no/where", "No such file"), ("x" * 300, "too long")],
)
def test_what_cannot_be_written_is_one_line(name: str, reason: str, folder: Path) -> None:
    with pytest.raises(UsageError, match=reason):
        write_text("x", folder / name)
