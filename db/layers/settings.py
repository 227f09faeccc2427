"""Which layers are asked after the user's database: TILEWRIGHT_LAYERS, else a settings file, else the bank.

    TILEWRIGHT_LAYERS="team=http://10.0.0.7:8757, /mnt/answers/best.db, bank"

names layers in order, separated by commas: `bank`, NAME=PLACE, a PLACE alone, or a NAME of the settings file;
`none` asks the user's database alone. The file is layers.toml in $XDG_CONFIG_HOME/tilewright (by default
~/.config/tilewright), or the path that ends in .toml in TILEWRIGHT_LAYERS:

    order = ["team", "shared", "bank"]

    [team]
    url = "http://10.0.0.7:8757"
    timeout_s = 0.3
    fresh_s = 600
    key_variable = "TEAM_KEY"

    [shared]
    file = "/mnt/answers/best.db"
"""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.files.inputs import open_regular

VARIABLE = "TILEWRIGHT_LAYERS"
BANK, NONE = "bank", "none"
TIMEOUT_S = 0.5
FRESH_S = 300.0
LARGEST_FILE_BYTES = 64 << 10
MOST_LAYERS = 16
_NAME = re.compile(r"[0-9A-Za-z_.-]{1,40}")
_FIELDS = {"url": str, "file": str, "timeout_s": float, "fresh_s": float, "key_variable": str}


@dataclass(frozen=True)
class LayerSetting:
    """One layer after the user's database.

    `place` is the URL of a server, the path of a database file, or `bank`. A server is waited for
    `timeout_s`, and not asked again within `fresh_s` for what it answered; `key_variable` is the variable of
    the environment that holds the key for it.
    """

    name: str
    place: str
    timeout_s: float = TIMEOUT_S
    fresh_s: float = FRESH_S
    key_variable: str = ""

    @property
    def is_server(self) -> bool:
        """Whether it is asked over HTTP."""
        return self.place.startswith(("http://", "https://"))


DEFAULT_LAYERS = (LayerSetting(BANK, BANK),)


def layer_settings(environment: Mapping[str, str] | None = None) -> tuple[LayerSetting, ...]:
    """The layers of this user, in order; UsageError names what cannot be read."""
    variables = os.environ if environment is None else environment
    given = variables.get(VARIABLE)
    if given is not None and given.strip().endswith(".toml"):
        return _of_file(Path(given.strip()))
    path = _default_file(variables)
    if given is None:
        return _of_file(path) if path.is_file() else DEFAULT_LAYERS
    words = [word.strip() for word in given.split(",") if word.strip()]
    if words in ([], [NONE]):
        return ()
    defined = _defined(path) if path.is_file() else {}
    return _checked([_of_word(word, defined, variables) for word in words], VARIABLE)


def _default_file(variables: Mapping[str, str]) -> Path:
    home = variables.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "tilewright" / "layers.toml"


def _of_word(word: str, defined: Mapping[str, LayerSetting], variables: Mapping[str, str]) -> LayerSetting:
    if word == BANK:
        return DEFAULT_LAYERS[0]
    if word in defined:
        return defined[word]
    name, equals, place = word.partition("=")
    if not equals or not _NAME.fullmatch(name):
        name, place = word.rsplit("/", 1)[-1] or word, word
    if "://" not in place and "/" not in place and not place.endswith(".db"):
        raise UsageError(
            f"{VARIABLE}: {word[:80]!r} is no layer; give `bank`, a path, http://HOST:PORT, NAME=PLACE,"
            " or a name from layers.toml"
        )
    # The key of the service goes to that service, and to no other server.
    own = place.rstrip("/") == variables.get("TILEWRIGHT_SERVER", "").rstrip("/")
    return LayerSetting(name, place, key_variable="TILEWRIGHT_KEY" if own else "")


def _of_file(path: Path) -> tuple[LayerSetting, ...]:
    content = _read(path)
    order = content.get("order", [BANK])
    if not isinstance(order, list) or not all(isinstance(each, str) for each in order):
        raise UsageError(f"{path}: order is a list of names, as in order = ['team', 'bank']")
    defined = _defined(path)
    for name in order:
        if name != BANK and name not in defined:
            raise UsageError(f"{path}: order names {name[:40]!r}, which has no table of its own")
    return _checked([DEFAULT_LAYERS[0] if name == BANK else defined[name] for name in order], str(path))


def _defined(path: Path) -> dict[str, LayerSetting]:
    return {
        name: _of_table(name, table, f"{path}: [{name[:40]}]")
        for name, table in _read(path).items()
        if name != "order"
    }


def _of_table(name: str, table: Any, where: str) -> LayerSetting:
    if not _NAME.fullmatch(name) or name in (BANK, NONE):
        raise UsageError(f"{where} is no name for a layer; use up to 40 letters, digits and _.-")
    if not isinstance(table, dict) or ("url" in table) == ("file" in table):
        raise UsageError(f"{where} needs one of url = and file =")
    for field, value in table.items():
        if field not in _FIELDS:
            raise UsageError(f"{where} has {field[:40]!r}; the fields are {', '.join(_FIELDS)}")
        wanted = (int, float) if _FIELDS[field] is float else str
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise UsageError(f"{where}: {field} is {str(value)[:40]!r}, no {_FIELDS[field].__name__}")
    seconds = {field: float(table[field]) for field in ("timeout_s", "fresh_s") if field in table}
    for field, value in seconds.items():
        if not 0.0 <= value < 1e9:
            raise UsageError(f"{where}: {field} is {value}; give seconds from 0 on")
    if "url" in table and not table["url"].startswith(("http://", "https://")):
        raise UsageError(f"{where}: url is {table['url'][:80]!r}; it begins with http:// or https://")
    place = table.get("url") or table["file"]
    return LayerSetting(name, place, key_variable=table.get("key_variable", ""), **seconds)


def _checked(layers: Sequence[LayerSetting], where: str) -> tuple[LayerSetting, ...]:
    names = [layer.name for layer in layers]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{where}: two layers are called {twice[:40]!r}; name them, as in NAME=PLACE")
    if len(layers) > MOST_LAYERS:
        raise UsageError(f"{where}: {len(layers)} layers; {MOST_LAYERS} are allowed")
    return tuple(layers)


def _read(path: Path) -> dict[str, Any]:
    try:
        with open_regular(path) as file:
            text = file.read(LARGEST_FILE_BYTES + 1)
        if len(text) > LARGEST_FILE_BYTES:
            raise UsageError(f"{path} is larger than {LARGEST_FILE_BYTES >> 10} KiB")
        return tomllib.loads(text.decode())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None
