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
        "Tune a T1 space on recorded measurements or a device.",
        (
            "space T1.json --replay T4.json.gz --trials 200",
            "space T1.json --device my_board:device --json answer.json",
        ),
    ),
    "sweep": Verb(
        "tune",
        "Tune networks on variants of a chip, and compare.",
        (
            "sweep model.onnx --target ascend910 --vary l1_kib=256,512,1024",
            "sweep a.onnx b.onnx --target chip.toml --vary cores=8..64 --vary llb.gbps=100,200 --svg f.svg",
        ),
    ),
    "lookup": Verb(
        "answer",
        "Print the answer for every kernel, or why none exists.",
        (
            "lookup model.onnx --target ascend910",
            "lookup model.onnx --target ascend910 --dim batch=8 --json -",
        ),
    ),
    "lock": Verb(
        "answer",
        "Write the answers of today to a file, for --frozen.",
        (
            "lock model.onnx --target ascend910 -o tilewright.lock",
            "lock model.onnx --target ascend910 --diff tilewright.lock",
        ),
    ),
    "compile": Verb(
        "answer",
        "Write the Program of a network, without measuring.",
        (
            "compile model.onnx --target ascend910 -o program.json",
            "compile model.onnx --target ascend910 -o program.json --require verified",
        ),
    ),
    "build": Verb(
        "answer",
        "Write a network as a native library of this CPU.",
        (
            "build model.onnx --target host -o library",
            "build model.onnx --target host -o library --require verified --dim batch=1",
        ),
    ),
    "explain": Verb(
        "answer",
        "Print the tiles, limits and runner-up of kernels.",
        (
            "explain model.onnx --target ascend910",
            'explain model.onnx --target ascend910 --kernel "layer1.0.conv2 + relu"',
        ),
    ),
    "diff": Verb(
        "answer",
        "Compare two runs, databases or targets.",
        ("diff 3f2a81 77c01e -o diff.html", "diff ascend910 my_chip.toml"),
    ),
    "verify": Verb(
        "answer",
        "Run the best Program and judge every value.",
        ("verify model.onnx --target ascend910", "verify model.onnx --target ascend910 --values"),
    ),
    "report": Verb(
        "answer",
        "Write a network or a run as one HTML page.",
        ("report model.onnx --target ascend910 -o report.html", "report 3f2a81 -o report.html"),
    ),
    "profile": Verb(
        "answer",
        "Write the simulated timeline as a Perfetto trace.",
        (
            "profile model.onnx --target ascend910 -o trace.json",
            "profile model.onnx --target ascend910 -o trace.json --svg timeline.svg",
        ),
    ),
    "plan": Verb(
        "answer",
        "Find the kernel order of least peak memory, and prove it.",
        ("plan model.onnx", "plan model.onnx --target ascend910 -o memory.svg"),
    ),
    "targets": Verb(
        "target",
        "Describe chips: presets, files of your own, this CPU.",
        ("targets show ascend910 > my_chip.toml", "targets check my_chip.toml"),
    ),
    "db": Verb(
        "database",
        "Show, exchange and maintain the records.",
        ("db stats", "db export -o records.jsonl"),
    ),
    "demand": Verb(
        "database",
        "List what lookups missed, the largest saving first.",
        ("demand", "demand --file tilewright.db.demand --json -"),
    ),
    "serve": Verb(
        "service",
        "Start the REST service and the dashboard.",
        ("serve", "serve --db postgresql://user@host/name --no-runner"),
    ),
    "runner": Verb(
        "service",
        "Run the jobs of a database.",
        ("runner --db tilewright.db", "runner --db postgresql://user@host/name --ray head:6379"),
    ),
    "submit": Verb(
        "service",
        "Send a model to a service to be tuned.",
        (
            "submit model.onnx --target ascend910",
            "submit model.onnx --target my_chip.toml --trials 1024 --server http://host:8757",
        ),
    ),
    "jobs": Verb("service", "List your jobs on a service.", ("jobs", "jobs --state running --json -")),
    "watch": Verb("service", "Follow a job to its end.", ("watch 3f2a81", "watch 3f2a81 --json events.json")),
    "cancel": Verb(
        "service",
        "Cancel a job.",
        ("cancel 3f2a81", "cancel 3f2a81 --server http://host:8757"),
    ),
    "keys": Verb(
        "service",
        "Manage API keys, and keys that sign records.",
        ("keys create laptop --tenant vision", "keys make laptop"),
    ),
    "worker": Verb(
        "farm",
        "Offer this host's devices to a farm.",
        ("worker --ray head:6379 --target ascend910", "worker --ray head:6379 --target ascend910 --slots 4"),
    ),
    "doctor": Verb("bench", "Check what works on this machine.", ("doctor", "doctor --json -")),
    "bench": Verb(
        "bench",
        "Repeat the published figures.",
        ("bench models --quick", "bench search --quick --json search.json"),
    ),
    "warm": Verb("bench", "Compile the numba code before its first use.", ("warm", "warm --json -")),
    "completion": Verb(
        "bench",
        "Print completion for bash, zsh or fish.",
        ("completion bash >> ~/.bashrc", "completion fish > ~/.config/fish/completions/tune.fish"),
    ),
}


def verb_app() -> typer.Typer:
    """A Typer with plain help and without completion options, as every verb's `app` has to be."""
    return typer.Typer(rich_markup_mode=None, add_completion=False)
