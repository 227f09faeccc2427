"""The repository: every verb that reads or writes records."""

from tilewright.db.answers import Answers
from tilewright.db.runs import Runs
from tilewright.db.service.accounts import Accounts
from tilewright.db.storage.session import Database


class Repository(Runs, Answers, Accounts):
    """Runs and trials in, answers and accounts out; values are frozen and own nothing of the database.

    Threads. One Repository may be used by many threads, and many processes may open the same database.
    Transactions. Each verb is one transaction: it happens whole or not at all, and a verb that returns has
    been made durable. Readers never wait for writers. Two verbs are two transactions; nothing is promised
    about what others do in between.
    Errors. RecordError, one line, where the database or the arguments do not allow it.
    """

    def __init__(self, database: Database) -> None:
        Runs.__init__(self, database)
        Accounts.__init__(self, database)
