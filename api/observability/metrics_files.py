"""A directory in which a server and its runner count together; made before prometheus_client is loaded."""

import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def counting_together(environment: MutableMapping[str, str]) -> Iterator[None]:
    """Names a fresh directory in `environment` for the block, unless somebody named one."""
    if VARIABLE in environment:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="tilewright-metrics-", ignore_cleanup_errors=True) as directory:
        environment[VARIABLE] = directory
        try:
            yield
        finally:
            del environment[VARIABLE]
