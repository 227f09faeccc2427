"""The JSON Schema of target files, for editors and other tools: read off the annotations of Target.

`python -m tilewright.compiler_core.target_model.schema` prints it; targets/schema.json is that
output, and a test keeps it so.
"""

import json
from dataclasses import fields, is_dataclass
from enum import StrEnum
from math import isinf
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from tilewright.compiler_core.target_model.file import KINDS, choices, describe, required
from tilewright.compiler_core.target_model.target import Target


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a target file once its TOML is parsed."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tilewright target",
        "description": "An accelerator as plain numbers. TOML's inf stands for a limit that is not there.",
        **_schema_of(Target),
    }


def _schema_of(kind: Any) -> dict[str, Any]:
    if isinstance(kind, UnionType):
        return {"oneOf": [_table(part, {"kind": {"const": name}}) for name, part in KINDS.items()]}
    if is_dataclass(kind):
        return _table(kind, {})
    if get_origin(kind) is Annotated:
        number, limits = get_args(kind)
        top = {} if isinf(limits.high) else {"maximum": limits.high}
        return {"type": "integer" if number is int else "number", "minimum": limits.low, **top}
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        if get_origin(item) is tuple:
            names, values = get_args(item)
            return {
                "type": "object",
                "propertyNames": _schema_of(names),
                "additionalProperties": _schema_of(values),
            }
        return {"type": "array", "items": _schema_of(item)}
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return {"enum": list(choices(kind))}
    return {"type": "boolean" if kind is bool else "string"}


def _table(kind: Any, fixed: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [*fixed, *(field.name for field in fields(kind) if required(field))],
        "properties": {
            **fixed,
            **{n: {"description": describe(h), **_schema_of(h)} for n, h in hints.items()},
        },
    }


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
