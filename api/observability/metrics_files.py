"""A directory in which a server and its runner count together; made before prometheus_client is loaded."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

from tilewright.compiler_core.files.scratch import scratch

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def counting_together(environment: MutableMapping[str, str]) -> Iterator[None]:
    """Names a fresh directory in `environment` for the block, unless somebody named one."""
    if VARIABLE in environment:
        yield
        return
    with scratch("metrics") as directory:
        environment[VARIABLE] = str(directory)
        try:
            yield
        finally:
            del environment[VARIABLE]
