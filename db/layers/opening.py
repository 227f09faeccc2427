"""Opening the layers of a user: the database first, then those of the settings."""

import os
from collections.abc import Sequence
from pathlib import Path

from tilewright.compiler_core.errors import RecordError, UsageError
from tilewright.db.layers.bank import open_bank, open_empty
from tilewright.db.layers.file import FileLayer
from tilewright.db.layers.layer import AbsentLayer, Layer, Layers, RecordsLayer
from tilewright.db.layers.remembered import Remembered
from tilewright.db.layers.server import ServerLayer, check_url
from tilewright.db.layers.settings import BANK, VARIABLE, LayerSetting, layer_settings
from tilewright.db.repository import Repository
from tilewright.db.storage.session import Database, open_database

DEFAULT_DATABASE = "tilewright.db"
OWN = "own"
"""The name of the user's own database, which has no other."""


def open_layers(
    database: str | Path,
    read_only: bool = True,
    settings: Sequence[LayerSetting] | None = None,
) -> tuple[Database, Layers]:
    """The user's database, and the layers beginning with it.

    Where there is no database of the default name, the others answer, and the first of them that has records
    stands in for it. RecordError where that leaves nothing, or the database cannot be opened. A file among
    the layers that cannot be opened is named by its `trouble`, and answers nothing.
    """
    chosen = layer_settings() if settings is None else settings
    missing = str(database) == DEFAULT_DATABASE and not Path(database).exists()
    own = None if read_only and missing and chosen else open_database(database, read_only)
    layers: list[Layer] = [] if own is None else [RecordsLayer(OWN, Repository(own))]
    for setting in chosen:
        found = _opened(setting)
        if found is not None:
            layers.append(found)
    first = own or next((each.database for each in layers if each.database is not None), None)
    if first is None and any(isinstance(each, ServerLayer) for each in layers):
        first = open_empty()
    if first is None:
        found_none = Layers(tuple(layers))
        found_none.close()
        try:
            first = open_database(database, read_only)
        except RecordError as error:
            raise RecordError("; ".join((str(error), *found_none.troubles))) from None
        layers.insert(0, RecordsLayer(OWN, Repository(first)))
    return first, Layers(tuple(layers))


def layers_after(repository: Repository, named: str) -> Layers:
    """A database that others keep open, and the layers of a text as TILEWRIGHT_LAYERS has it. UsageError
    where that cannot be read.
    """
    settings = layer_settings({**os.environ, VARIABLE: named})
    opened = filter(None, map(_opened, settings))
    return Layers((RecordsLayer("", repository), *opened))


def place_of(name: str, settings: Sequence[LayerSetting] | None = None) -> Database:
    """A database by the name of a layer, or by its path or URL, for reading.

    RecordError where it cannot be opened, UsageError for a server: it answers questions, and lists nothing.
    """
    if name == OWN:
        return open_database(DEFAULT_DATABASE, read_only=True)
    chosen = layer_settings() if settings is None else settings
    setting = next((each for each in chosen if each.name == name), None)
    place = name if setting is None else setting.place
    if place.startswith(("http://", "https://")):
        raise UsageError(f"{name[:60]} is a server; `tune db pull {place[:80]}` fetches what it has")
    bank = open_bank() if place == BANK else None
    return bank or open_database(place, read_only=True)


def _opened(setting: LayerSetting) -> Layer | None:
    if setting.place == BANK:
        bank = open_bank()
        return None if bank is None else FileLayer.of(setting.name, bank)
    if setting.is_server:
        check_url(setting)
        return ServerLayer(setting, Remembered(setting.place))
    try:
        opened = open_database(setting.place, read_only=True)
        if opened.on_sqlite:
            return FileLayer.of(setting.name, opened)
        return RecordsLayer(setting.name, Repository(opened))
    except RecordError as error:
        return AbsentLayer(setting.name, str(error))
