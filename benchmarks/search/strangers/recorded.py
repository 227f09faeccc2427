"""The answers of a tool as T4 tables over its T1 space, so that a bench of it runs again without the tool.

tune bench search --device vela              from the tables
tune bench search --device vela --record     asks the tool anew (`make strangers`), and writes them
"""

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.search.strangers.tool import FOLDER, TOOLS, Tool, ToolDevice, ToolProcess
from tilewright.compiler_core.errors import UsageError
from tilewright.measure.recorded.replay import ReplayDevice, SpaceTask, load_t4
from tilewright.search_space.moves import enumerate_rows
from tilewright.search_space.t1 import load_t1

_ASKED_AT_ONCE = 256


def tool_named(name: str) -> Tool:
    """A tool; UsageError lists the names."""
    if name not in TOOLS:
        raise UsageError(f"--device {name!r} is unknown; choose from {', '.join(TOOLS)}")
    return TOOLS[name]


def space_file(tool: Tool) -> Path:
    """The T1 file of its space."""
    return FOLDER / tool.name / "space.T1.json"


def table_files(tool: Tool) -> list[Path]:
    """The tables, in the order of the tool's layers; UsageError where some were not recorded."""
    files = [FOLDER / tool.name / f"{layer.name}.T4.json.gz" for layer in tool.layers]
    if missing := [file.name for file in files if not file.exists()]:
        raise UsageError(
            f"{missing[0]} was not recorded; `tune bench search --device {tool.name} --record` does it"
        )
    return files


def tables(tool: Tool) -> Iterator[ReplayDevice]:
    """A device for every layer of `tool`."""
    space = load_t1(space_file(tool))
    for file in table_files(tool):
        yield load_t4(file, space)


def record_tool(name: str, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Ask a tool about every Config of every layer; a row for each table. UsageError lists the names."""
    tool = tool_named(name)
    space_file(tool).parent.mkdir(exist_ok=True)
    space_file(tool).write_text(json.dumps(_space(tool), indent=1) + "\n", encoding="utf-8")
    space = load_t1(space_file(tool))
    found = enumerate_rows(space)
    assert found is not None, "the space of a tool is small"
    configs = [space.decode(row) for row in found]
    rows, process = [], ToolProcess(tool)
    for layer in tool.layers:
        file = FOLDER / tool.name / f"{layer.name}.T4.json.gz"
        device = ToolDevice(process, layer)
        entries: list[dict[str, Any]] = []
        times: list[float] = []
        for start in range(0, len(configs), _ASKED_AT_ONCE):
            asked = configs[start : start + _ASKED_AT_ONCE]
            for config, answer in zip(asked, device.measure(SpaceTask(space), asked), strict=True):
                if answer.latency_us is not None:
                    time = {"name": "time", "value": answer.latency_us, "unit": "us"}
                    entries.append({"configuration": dict(config), "measurements": [time]})
                    times.append(answer.latency_us)
        table = {
            "schema_version": "1.0.0",
            "metadata": {"timeunit": "us", "tool": tool.package},
            "results": entries,
        }
        # Without a time stamp: the same answers make the same file.
        file.write_bytes(gzip.compress(json.dumps(table, separators=(",", ":")).encode(), mtime=0))
        say(f"{file.name}: {len(times)} of {len(configs)} valid, {min(times):.1f} to {max(times):.1f} us")
        rows.append({"task": layer.name, "method": "record", "valid": len(times), "best_us": min(times)})
    process.close()
    return {"bench": "search_record", "summary": {}, "rows": rows}


def _space(tool: Tool) -> dict[str, Any]:
    """The T1 document of the tool's knobs. Which Configs are valid is for the search to find out."""
    parameters = [
        {
            "Name": name,
            "Type": "int" if isinstance(values[0], int) else "string",
            "Values": json.dumps(list(values)),
            "Default": values[0],
        }
        for name, values in tool.knobs.items()
    ]
    return {
        "General": {"BenchmarkName": tool.name, "OutputFormat": "JSON"},
        "ConfigurationSpace": {"TuningParameters": parameters, "Conditions": []},
    }
