"""Files that came with a job or out of one, by content digest: the service keeps nothing on its own disk.

They are stored in parts, so that a large file is never whole in anybody's memory. Retention (retention.py)
may drop the parts of a file that nobody used for long; its row stays while a job names it.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from sqlalchemy import Connection, insert, select, update

from tilewright.db.service.quotas import Quota, require_space
from tilewright.db.storage.columns import database_clock
from tilewright.db.storage.schema import upload, upload_part
from tilewright.db.storage.session import Database
from tilewright.db.storage.writes import insert_missing, lock_name

PART_BYTES = 1 << 20


class Uploads:
    """Content-addressed bytes; putting them twice stores them once."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def put(self, content: bytes) -> str:
        """Stores `content`; its SHA-256 in hex."""
        return self.put_file(io.BytesIO(content))

    def put_model(self, file: BinaryIO, symbols: Sequence[str], room: tuple[str, Quota] | None = None) -> str:
        """Stores a model that was read and found good, with the names of its symbolic dims.

        QuotaError where it is new and `room`, a tenant and its quota, has no space for it.
        """
        digest = digest_of_file(file)
        if room is not None and self.size(digest) is None:
            with self.database.snapshot() as connection:
                require_space(connection, *room, file.seek(0, io.SEEK_END))
        self.put_file(file, digest)
        with self.database.writing() as connection:
            connection.execute(
                update(upload).where(upload.c.digest == digest).values(symbols=json.dumps(list(symbols)))
            )
        return digest

    def symbols(self, digest: str) -> tuple[str, ...] | None:
        """Names of the symbolic dims of a model that was read before and is here; None where none is.

        It counts as used by that, so that it is still here when its job comes.
        """
        with self.database.writing() as connection:
            _use(connection, digest)
        rows = self.database.ask(select(upload.c.symbols).where(upload.c.digest == digest, upload.c.kept))
        return tuple(json.loads(rows[0].symbols)) if rows and rows[0].symbols is not None else None

    def put_file(self, file: BinaryIO, digest: str = "") -> str:
        """Stores everything in a seekable file, all or nothing; its SHA-256, found out if not given."""
        digest = digest or digest_of_file(file)
        with self.database.writing() as connection:
            if _use(connection, digest):
                return digest
            lock_name(connection, f"upload {digest}")
            if not _use(connection, digest):
                row = {"digest": digest, "size_bytes": file.seek(0, io.SEEK_END)}
                insert_missing(connection, upload, [row])
                for number, part in enumerate(_parts(file)):
                    connection.execute(
                        insert(upload_part), {"digest": digest, "number": number, "content": part}
                    )
                there = {"kept": True, "used_at_s": database_clock()}
                connection.execute(update(upload).where(upload.c.digest == digest).values(there))
        return digest

    def size(self, digest: str) -> int | None:
        """The size in bytes of the file with that digest, if it is here."""
        here = (upload.c.digest == digest, upload.c.kept)
        rows = self.database.ask(select(upload.c.size_bytes).where(*here))
        return rows[0].size_bytes if rows else None

    def parts(self, digest: str) -> Iterator[bytes]:
        """The bytes with that digest in order; nothing when they are not here."""
        number = 0
        of_digest = select(upload_part.c.content).where(upload_part.c.digest == digest)
        while rows := self.database.ask(of_digest.where(upload_part.c.number == number)):
            yield bytes(rows[0].content)
            number += 1

    def get(self, digest: str) -> bytes | None:
        """The bytes with that digest, if they are here."""
        return b"".join(self.parts(digest)) if self.size(digest) is not None else None


def _use(connection: Connection, digest: str) -> bool:
    """Notes that a file is used now; whether it is here."""
    here = (upload.c.digest == digest, upload.c.kept)
    return connection.execute(update(upload).where(*here).values(used_at_s=database_clock())).rowcount == 1


def digest_of_file(file: BinaryIO) -> str:
    """SHA-256 in hex of everything in a seekable file."""
    digest = hashlib.sha256()
    for part in _parts(file):
        digest.update(part)
    return digest.hexdigest()


def _parts(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while part := file.read(PART_BYTES):
        yield part
