"""The demand file of a service."""

AUTO, OFF = "auto", "off"


def file_beside(database: str) -> str:
    """The file beside a SQLite database; empty where the database is a server."""
    if "://" not in database:
        return f"{database}.demand"
    scheme, _, path = database.partition(":///")
    return f"{path}.demand" if scheme == "sqlite" and path else ""


def file_of_service(setting: str, database: str) -> str:
    """The file of the setting `demand`: `auto` is beside the database, or in the working folder where that is
    a server; `off` is none.
    """
    if setting == OFF:
        return ""
    return (file_beside(database) or "tilewright.demand") if setting == AUTO else setting
