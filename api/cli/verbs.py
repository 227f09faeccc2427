"""The table of verbs. A new verb is a module `api/cli/<verb>.py` with an `app`, and one entry here.

    from tilewright.api.cli.verbs import verb_app

    app = verb_app()

    @app.command()
    def lookup(model: Path, target: ...) -> int | None:
        from tilewright.db.answering.lookup import ...  # heavy imports inside, so that --help stays fast

An app with one command is that verb; with several it is a family (`tune targets list`). A command returns the
exit code, where None means 0; errors are raised, and `tilewright.api.cli.main` turns them into exit codes.
"""

from dataclasses import dataclass

import typer


@dataclass(frozen=True)
class Verb:
    """A verb of `tune`: the group that help lists it in, its line there, and two lines to try."""

    group: str
    help: str
    examples: tuple[str, str]


GROUPS = {
    "tune": "Tune",
    "answer": "Ask for answers",
    "target": "Describe chips",
    "database": "Keep the database",
    "service": "Serve others",
    "farm": "Spread the measuring",
    "bench": "Check this installation",
}
"""Groups of verbs in the order of `tune --help`, and their headings."""

VERBS: dict[str, Verb] = {
    "run": Verb(
        "tune",
        "Tune a network for a target.",
        ("run model.onnx --target ascend910", "run --from-demand --time-limit 2h"),
    ),
    "space": Verb(
        "tune",
        "Tune any T1 space, on records or your own device.",
        (
            "space T1.json --replay T4.json.gz --trials 200",
            "space T1.json --device my_board:device --json answer.json",
        ),
    ),
    "sweep": Verb(
        "tune",
        "Which chip for these networks: variants of a target.",
        (
            "sweep model.onnx --target ascend910 --vary l1_kib=256,512,1024",
            "sweep a.onnx b.onnx --target chip.toml --vary cores=8..64 --vary llb.gbps=100,200 --svg f.svg",
        ),
    ),
    "lookup": Verb(
        "answer",
        "The database's answers for a network, and why one is missing.",
        (
            "lookup model.onnx --target ascend910",
            "lookup model.onnx --target ascend910 --dim batch=8 --json -",
        ),
    ),
    "lock": Verb(
        "answer",
        "Pins the answers of today in a file, for --frozen.",
        (
            "lock model.onnx --target ascend910 -o tilewright.lock",
            "lock model.onnx --target ascend910 --diff tilewright.lock",
        ),
    ),
    "compile": Verb(
        "answer",
        "The Program of a network, without measuring.",
        (
            "compile model.onnx --target ascend910 -o program.json",
            "compile model.onnx --target ascend910 -o program.json --require verified",
        ),
    ),
    "build": Verb(
        "answer",
        "A network as a native library of this CPU.",
        (
            "build model.onnx --target host -o library",
            "build model.onnx --target host -o library --require verified --dim batch=1",
        ),
    ),
    "explain": Verb(
        "answer",
        "Why a kernel is as it is: tiles, limits, runner-up.",
        (
            "explain model.onnx --target ascend910",
            'explain model.onnx --target ascend910 --kernel "layer1.0.conv2 + relu"',
        ),
    ),
    "diff": Verb(
        "answer",
        "Two runs, databases or targets side by side.",
        ("diff 3f2a81 77c01e -o diff.html", "diff ascend910 my_chip.toml"),
    ),
    "verify": Verb(
        "answer",
        "Emulate the best Program and judge every value.",
        ("verify model.onnx --target ascend910", "verify model.onnx --target ascend910 --values"),
    ),
    "report": Verb(
        "answer",
        "A network or a run as one HTML file.",
        ("report model.onnx --target ascend910 -o report.html", "report 3f2a81 -o report.html"),
    ),
    "profile": Verb(
        "answer",
        "The simulated timeline as a Perfetto trace.",
        (
            "profile model.onnx --target ascend910 -o trace.json",
            "profile model.onnx --target ascend910 -o trace.json --svg timeline.svg",
        ),
    ),
    "plan": Verb(
        "answer",
        "Least peak memory of a network, proven and drawn.",
        ("plan model.onnx", "plan model.onnx --target ascend910 -o memory.svg"),
    ),
    "targets": Verb(
        "target",
        "Presets, your own chip's file, this machine.",
        ("targets show ascend910 > my_chip.toml", "targets check my_chip.toml"),
    ),
    "db": Verb(
        "database",
        "Contents, exchange, upkeep.",
        ("db stats", "db export -o records.jsonl"),
    ),
    "demand": Verb(
        "database",
        "What lookups missed, by the time that tuning would save.",
        ("demand", "demand --file tilewright.db.demand --json -"),
    ),
    "serve": Verb(
        "service",
        "The REST service and the dashboard.",
        ("serve", "serve --db postgresql://user@host/name --no-runner"),
    ),
    "runner": Verb(
        "service",
        "Works on the jobs of a database.",
        ("runner --db tilewright.db", "runner --db postgresql://user@host/name --ray head:6379"),
    ),
    "submit": Verb(
        "service",
        "Sends a model to a server to be tuned.",
        (
            "submit model.onnx --target ascend910",
            "submit model.onnx --target my_chip.toml --trials 1024 --server http://host:8000",
        ),
    ),
    "jobs": Verb("service", "Your jobs on a server.", ("jobs", "jobs --state running --json -")),
    "watch": Verb(
        "service", "Follows a job to its end.", ("watch 3f2a81", "watch 3f2a81 --json events.json")
    ),
    "cancel": Verb(
        "service",
        "Asks for the end of a job.",
        ("cancel 3f2a81", "cancel 3f2a81 --server http://host:8000"),
    ),
    "keys": Verb(
        "service",
        "Keys of the service, and keys that sign records.",
        ("keys create laptop --tenant vision", "keys make laptop"),
    ),
    "worker": Verb(
        "farm",
        "Offers this host's devices to a farm.",
        ("worker --ray head:6379 --target ascend910", "worker --ray head:6379 --target ascend910 --slots 4"),
    ),
    "doctor": Verb("bench", "What works on this machine.", ("doctor", "doctor --json -")),
    "bench": Verb(
        "bench",
        "Repeats the published figures.",
        ("bench models --quick", "bench search --quick --json search.json"),
    ),
    "warm": Verb("bench", "Compiles the numba code ahead of its first use.", ("warm", "warm --help")),
    "completion": Verb(
        "bench",
        "Prints completion for bash, zsh or fish.",
        ("completion bash >> ~/.bashrc", "completion fish > ~/.config/fish/completions/tune.fish"),
    ),
}


def verb_app() -> typer.Typer:
    """A Typer with plain help and without completion options, as every verb's `app` has to be."""
    return typer.Typer(rich_markup_mode=None, add_completion=False)
