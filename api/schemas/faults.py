"""The faults of a JobSpec in words: one per place, without the names of types inside the program."""

from collections.abc import Mapping

from pydantic import ValidationError

SIZE = 'not a size; give a whole number from 0 on, or a range, as in {"low": 1, "high": 64}'
WORDS: Mapping[str, str] = {
    "int_type": "not a whole number",
    "int_parsing": "not a whole number",
    "int_from_float": "not a whole number",
    "int_parsing_size": "the number is too large",
    "float_type": "not a number",
    "string_type": "not a text",
    "dict_type": "not an object of names and values",
    "list_type": "not a list",
    "missing": "it has to be given",
}
PLACES: Mapping[str, str] = {
    "target": "not a text; give the name of a preset, or the text of a target file",
}
DIMS, OF_UNION = "dims", ("constrained-int", "DimRange")


def faults_of(error: ValidationError) -> list[tuple[str, str]]:
    """Place and reason of each fault, in the order of the spec; the place is a dotted path."""
    found: dict[str, str] = {}
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        path = [str(part) for part in each["loc"]]
        is_size = path[:1] == [DIMS] and len(path) > 2 and path[2] in OF_UNION
        if is_size:
            del path[2]
        where, kind = ".".join(path), str(each["type"])
        why = SIZE if is_size and len(path) == 2 else WORDS.get(kind, str(each["msg"]))
        found.setdefault(where, PLACES[where] if where in PLACES and kind == "string_type" else why)
    inner = {where.rpartition(".")[0] for where in found}
    return [(where, why) for where, why in found.items() if not (why == SIZE and where in inner)]
