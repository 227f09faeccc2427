"""The audit log of the service: append-only, with every change and every sign-in."""

from dataclasses import dataclass

from sqlalchemy import insert, select

from tilewright.db.records import plain_text
from tilewright.db.storage.schema import audit
from tilewright.db.storage.session import Database

LARGEST_PAGE = 500


@dataclass(frozen=True)
class AuditRow:
    """One entry. `who` names an API key (never its secret), `subject` what was acted on."""

    id: int
    tenant: str
    who: str
    action: str
    subject: str
    address: str
    created_at_s: float


class Audit:
    """Verbs on the audit log; the promises on threads, transactions and errors are those of Repository."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, tenant: str, who: str, action: str, subject: str, address: str = "") -> None:
        """Appends an entry; durable when this returns."""
        row = {
            "tenant": tenant[:100],
            "who": plain_text(who)[:200],
            "action": action,
            "subject": plain_text(subject)[:200],
            "address": address[:100],
        }
        with self.database.writing() as connection:
            connection.execute(insert(audit), row)

    def list(self, tenant: str | None = None, before: int | None = None, limit: int = 100) -> list[AuditRow]:
        """Entries newest first, those with a smaller id than `before`."""
        question = select(audit).order_by(audit.c.id.desc()).limit(max(1, min(limit, LARGEST_PAGE)))
        if tenant is not None:
            question = question.where(audit.c.tenant == tenant)
        if before is not None:
            question = question.where(audit.c.id < before)
        return [
            AuditRow(row.id, row.tenant, row.who, row.action, row.subject, row.address, row.created_at_s)
            for row in self.database.ask(question)
        ]
