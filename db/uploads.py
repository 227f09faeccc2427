"""Files that came with a job, by content digest: the service keeps nothing on its own disk."""

import hashlib

from sqlalchemy import select

from db.schema import upload
from db.session import Database
from db.writes import insert_missing


class Uploads:
    """Content-addressed bytes; putting them twice stores them once."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def put(self, content: bytes) -> str:
        """Stores `content`; its SHA-256 in hex."""
        digest = hashlib.sha256(content).hexdigest()
        with self.database.writing() as connection:
            insert_missing(
                connection, upload, [{"digest": digest, "size_bytes": len(content), "content": content}]
            )
        return digest

    def get(self, digest: str) -> bytes | None:
        """The bytes with that digest, if they are here."""
        rows = self.database.ask(select(upload.c.content).where(upload.c.digest == digest))
        return bytes(rows[0].content) if rows else None
