"""The part of requirements.lock that Tilewright itself needs, without tests, docs and the experiment tracker.

    python deploy/lock_part.py > part.lock

Needs nothing but Python: it runs before anything is installed. The lock says behind each package which others
ask for it; what the project's own dependencies do not lead to is left out.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAME = re.compile(r"[A-Za-z0-9._-]+")


def canonical(name: str) -> str:
    """A package's name as the lock spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(project: str) -> set[str]:
    """Names of the packages that pyproject.toml asks for to build and to run."""
    told = tomllib.loads(project)
    asked = [*told["project"]["dependencies"], *told["build-system"]["requires"]]
    return {canonical(found[0]) for each in asked if (found := NAME.match(each))}


def blocks(lock: str) -> Iterator[tuple[str, str, set[str]]]:
    """Each package of a lock: its name, its lines, and the names of those that ask for it."""
    for text in re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)[1:]:
        _, _, via = text.partition("# via")
        askers = {canonical(found[0]) for line in via.splitlines() if (found := NAME.search(line))}
        yield canonical(text.partition("==")[0]), text, askers


def part_of(lock: str, project: str) -> str:
    """The lock's lines of the packages that `project` needs, and of those that these ask for."""
    kept, found = needed(project), list(blocks(lock))
    while more := {name for name, _, askers in found if askers & kept} - kept:
        kept |= more
    return "".join(text for name, text, _ in found if name in kept)


if __name__ == "__main__":
    lock, project = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("requirements.lock", "pyproject.toml")
    )
    sys.stdout.write(part_of(lock, project))
