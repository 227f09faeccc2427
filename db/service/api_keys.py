"""API keys: 256 random bits, of which only the SHA-256 is stored."""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, insert, select, update

from tilewright.compiler_core.errors import RecordError
from tilewright.db.records import plain_name
from tilewright.db.storage.columns import database_clock
from tilewright.db.storage.schema import api_key
from tilewright.db.storage.session import Database

PREFIX = "tw_"  # so that secret scanners recognise a leaked key


class Scope(StrEnum):
    """The rights of a key. Scopes are independent: admin does not imply the others."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret."""

    id: int
    tenant: str
    name: str
    scopes: frozenset[Scope]
    created_at_s: float
    revoked_at_s: float | None


class ApiKeys:
    """Verbs on keys; the promises on threads, transactions and errors are those of Repository."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def create(self, tenant: str, name: str, scopes: Iterable[Scope]) -> tuple[ApiKey, str]:
        """A new key and its secret, which cannot be shown again."""
        granted = frozenset(Scope(scope) for scope in scopes)
        if not granted:
            raise RecordError(f"key {name!r} needs a scope; choose from {', '.join(Scope)}")
        secret = PREFIX + secrets.token_urlsafe(32)
        with self.database.writing() as connection:
            connection.execute(
                insert(api_key),
                {
                    "secret_digest": _hashed(secret),
                    "tenant": plain_name(tenant)[:100],
                    "name": plain_name(name),
                    "can_read": Scope.READ in granted,
                    "can_submit": Scope.SUBMIT in granted,
                    "can_admin": Scope.ADMIN in granted,
                },
            )
            row = connection.execute(select(api_key).where(api_key.c.secret_digest == _hashed(secret))).one()
        return _to_key(row), secret

    def authenticate(self, secret: str) -> ApiKey | None:
        """The key of this secret, unless it is revoked or was never made."""
        question = select(api_key).where(
            api_key.c.secret_digest == _hashed(secret), api_key.c.revoked_at_s.is_(None)
        )
        rows = self.database.ask(question)
        return _to_key(rows[0]) if rows else None

    def revoke(self, key_id: int) -> None:
        """Ends a key at once and for good. RecordError when there is no such key."""
        with self.database.writing() as connection:
            known = connection.execute(select(api_key.c.id).where(api_key.c.id == key_id)).first()
            if known is None:
                raise RecordError(f"there is no API key {key_id}; list the keys to see their numbers")
            connection.execute(
                update(api_key)
                .where(api_key.c.id == key_id, api_key.c.revoked_at_s.is_(None))
                .values(revoked_at_s=database_clock())
            )

    def list(self, tenant: str | None = None) -> list[ApiKey]:
        """Every key, revoked ones included, oldest first."""
        question = select(api_key).order_by(api_key.c.id)
        if tenant is not None:
            question = question.where(api_key.c.tenant == tenant)
        return [_to_key(row) for row in self.database.ask(question)]

    def any_valid(self) -> bool:
        """Whether there is a key at all; without one the service stays on loopback."""
        return bool(self.database.ask(select(api_key.c.id).where(api_key.c.revoked_at_s.is_(None)).limit(1)))


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _to_key(row: Row[Any]) -> ApiKey:
    granted = {Scope.READ: row.can_read, Scope.SUBMIT: row.can_submit, Scope.ADMIN: row.can_admin}
    scopes = frozenset(scope for scope, given in granted.items() if given)
    return ApiKey(row.id, row.tenant, row.name, scopes, row.created_at_s, row.revoked_at_s)
