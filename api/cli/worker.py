"""`tune worker`: offer this host's devices to a farm, until SIGTERM."""

from typing import Annotated

import typer

from tilewright.api.cli.options import TargetName
from tilewright.api.cli.verbs import verb_app

app = verb_app()


@app.command()
def worker(
    target: TargetName,
    ray: Annotated[str, typer.Option(help="HOST:PORT of the farm's Ray head.")],
    slots: Annotated[int, typer.Option(min=1, help="Devices of this kind on this host.")] = 1,
    grace: Annotated[
        float, typer.Option(min=0.0, help="How long work under way may take after SIGTERM, in seconds.")
    ] = 60.0,
    lab: Annotated[
        str | None,
        typer.Option(help="Faults to inject here, as crash_during=0.01 or a TOML file (docs/cli.md)."),
    ] = None,
) -> None:
    """Join a farm with devices for a target; `tune run --ray` and runners measure on them.

    One farm holds any number of targets. SIGTERM or an interrupt drains: no new work comes, and work under
    way is finished. After a cut, or with a new head, the host joins again by itself. --lab injects faults
    here, to test a farm. `--target host` offers cores of this CPU. docs/farm.md.
    """
    import os
    import signal
    import threading

    from tilewright.compiler_core.target_model.file import load_target
    from tilewright.compiler_core.target_model.host import HOST
    from tilewright.measure.host.file import ensure_host
    from tilewright.measure.host.worker import kind_of
    from tilewright.measure.lab import HOST_LAB, plan_text, read_lab
    from tilewright.measure.ray_farm.member import serve_farm

    if lab is not None:
        os.environ[HOST_LAB] = plan_text(read_lab(lab))
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if target == HOST:
        ensure_host()
    serve_farm(ray, kind_of(load_target(target)), slots, grace, stop)
