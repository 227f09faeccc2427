"""The caller of a request: a key in the Authorization header or the sign-in cookie. While the service listens
on loopback only and no key has ever been made, every caller is the operator. The first key ends that.
"""

import ipaddress
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from fastapi import Request

from tilewright.api.guards.limits import Buckets
from tilewright.db.browse import Viewer
from tilewright.db.service.api_keys import ApiKeys, Scope
from tilewright.db.storage.session import Database

COOKIE = "tilewright_key"
LOCAL_TENANT = "local"
SECOND_LOOK_S = 1.0


@dataclass(frozen=True)
class Principal:
    """The caller of a request. `by_cookie`: a browser sent the key by itself; the request may be forged."""

    tenant: str
    who: str
    scopes: frozenset[Scope]
    by_cookie: bool = False

    @property
    def key(self) -> str:
        """Under which name limits count what they do."""
        return f"{self.tenant} {self.who}"

    @property
    def viewer(self) -> Viewer:
        """The runs and records that the caller may see."""
        return Viewer(self.tenant, operator=Scope.ADMIN in self.scopes)


OPERATOR = Principal(LOCAL_TENANT, "operator on loopback", frozenset(Scope))


class Authenticator:
    """Finds whose request it is, by its key. Blocking: call it on a database thread."""

    def __init__(self, database: Database, loopback: bool, failures_per_minute: float = 30.0) -> None:
        self.keys = ApiKeys(database)
        self.failures = Buckets(failures_per_minute / 60.0, max(1.0, failures_per_minute), time.monotonic)
        """Wrong keys by address: of every way in together."""
        self.loopback = loopback
        self._keyless_until = 0.0
        self._keys_seen = False

    def principal(self, authorization: str, cookie: str) -> Principal | None:
        """Whose request this is; None when it has no valid key and needs one."""
        scheme, _, secret = authorization.partition(" ")
        if authorization:
            return self._of_key(secret.strip(), by_cookie=False) if scheme.lower() == "bearer" else None
        if secret := cookie_secret(cookie):
            return self._of_key(secret, by_cookie=True)
        return OPERATOR if self.open else None

    @property
    def surely_open(self) -> bool:
        """Whether no key is needed, by the last look at the database; asks none."""
        return self.loopback and not self._keys_seen and time.monotonic() < self._keyless_until

    @property
    def open(self) -> bool:
        """Whether no key is needed: on loopback, until there has been one."""
        if self._keys_seen or not self.loopback:
            return False
        if time.monotonic() >= self._keyless_until:
            self._keys_seen = bool(self.keys.list())
            self._keyless_until = time.monotonic() + SECOND_LOOK_S
        return not self._keys_seen

    def _of_key(self, secret: str, by_cookie: bool) -> Principal | None:
        key = self.keys.authenticate(secret)
        if key is None:
            return OPERATOR if by_cookie and self.open else None
        return Principal(key.tenant, f"key {key.id} {key.name}", key.scopes, by_cookie)


def cookie_secret(header: str) -> str:
    """The key in a Cookie header, or nothing."""
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel is not None else ""


def is_loopback(host: str) -> bool:
    """Whether nobody beyond this machine reaches `host`."""
    name = host.strip("[]")
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def same_site(headers: Mapping[str, str], by_browser: bool) -> bool:
    """Whether a request that changes something comes from one of our own pages, or from no browser.

    Browsers name the page of a request in Sec-Fetch-Site or Origin. With a key that a browser sends by
    itself, one of the two headers must be present.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return False
    if origin is not None:
        return origin.partition("://")[2].lower() == headers.get("host", "").lower()
    return site is not None or not by_browser


async def principal_of(request: Request) -> Principal:
    """Who makes a request that came through the gate. (Async, or FastAPI would send it to a thread.)"""
    principal = request.scope["state"]["principal"]
    assert isinstance(principal, Principal)
    return principal
