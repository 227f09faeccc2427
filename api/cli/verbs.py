"""The table of verbs. A new verb is a module `api/cli/<verb>.py` with an `app`, and one line here.

    from tilewright.api.cli.verbs import verb_app

    app = verb_app()

    @app.command()
    def lookup(model: Path, target: ...) -> int | None:
        from tilewright.db.answering.lookup import ...  # heavy imports inside, so that --help stays fast

An app with one command is that verb; with several it is a family (`tune targets list`). What a command
returns is the exit code, None being 0; errors are raised, and `tilewright.api.cli.main`
turns them into exit codes.
"""

import typer

VERBS: dict[str, str] = {
    "run": "Tune a network for a target.",
    "lookup": "What the database knows of a network: hit or miss per kernel, and why a miss.",
    "compile": "The Program of a network from the database, no measuring.",
    "explain": "Why the answer is as it is: tiles, limits, the runner-up, what is not fused.",
    "plan": "Peak memory of a network in its own and the best kernel order, proven and drawn.",
    "profile": "A Perfetto trace and a picture of the simulated timeline.",
    "report": "A network or a run as one HTML file, from the database alone.",
    "verify": "Emulate the best Program, compare it with onnxruntime value by value.",
    "db": "The search database: what it holds, exchange, upkeep.",
    "space": "Tune any T1 space against recorded measurements, or on a device of your own.",
    "warm": "Compile what is compiled at first use, ahead of time.",
    "serve": "The REST service and the dashboard, with a runner beside it.",
    "runner": "Works on the jobs of a database, beside or far from its server.",
    "worker": "Offers this host's devices to a farm.",
    "submit": "Sends a model to a server to be tuned.",
    "jobs": "Your jobs on a server.",
    "watch": "Follows a job to its end.",
    "cancel": "Asks for the end of a job.",
    "keys": "Makes, lists and revokes API keys.",
    "bench": "Repeats the published figures.",
    "targets": "Presets, one target as plain numbers, mistakes in a file of your own.",
}


def verb_app() -> typer.Typer:
    """A Typer with plain help and without completion options, as every verb's `app` has to be."""
    return typer.Typer(rich_markup_mode=None, add_completion=False)
