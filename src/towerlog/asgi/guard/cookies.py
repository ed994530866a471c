"""The session's cookie: how it is set, read and taken back, and which of its requests come from a page of this server.

A browser sends the cookie with every request, whichever page made it. So a request by cookie that may change something
has to show that a page of ours made it: by `Origin`, which browsers set and no page can, and by a header of ours, which
no page of another origin can send without a preflight.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from towerlog.asgi.replies import Headers
from towerlog.errors import CrossSite
from towerlog.model.member import SESSION_MS, session_digest

PLAIN, SECURE = b"towerlog", b"__Host-towerlog"
"""How the cookie's name begins; the second where the browser is connected by TLS, which then sends it nowhere else.
The port of the address follows: browsers keep the cookies of all ports of a host together."""
OWN_HEADER = b"x-towerlog-request"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FOR_SESSIONS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"), (b"vary", b"cookie"))
"""What an answer to a session says: the address is the same for all members, and no cache knows who asks."""
_PORT = re.compile(rb":([0-9]{1,5})$")
MAX_SESSION_BYTES = 100
"""Of a session's text."""


def session_of(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The digest of the session that is named; None where none is."""
    if b"cookie" not in headers:
        return None
    found = cookies_of(headers)
    for name in _names(headers):
        text = found.get(name, b"")
        if text and len(text) <= MAX_SESSION_BYTES:
            return session_digest(name, text)
    return None


def cookies_of(headers: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """All cookies of a request, by name."""
    parts = (part.strip().partition(b"=") for part in headers.get(b"cookie", b"").split(b";"))
    return {name: value for name, _, value in parts}


def name_for(headers: Mapping[bytes, bytes]) -> bytes:
    """Under which name a page of this origin keeps its session."""
    return name_at(headers, is_secure=headers.get(b"origin", b"").lower().startswith(b"https://"))


def name_at(headers: Mapping[bytes, bytes], *, is_secure: bool) -> bytes:
    """The same, where it is known whether the browser is connected by TLS."""
    port = _PORT.search(headers.get(b"host", b""))
    return (SECURE if is_secure else PLAIN) + (b"-" + port[1] if port else b"")


def _names(headers: Mapping[bytes, bytes]) -> tuple[bytes, bytes]:
    return name_at(headers, is_secure=True), name_at(headers, is_secure=False)


def set_cookie(name: bytes, text: str) -> tuple[bytes, bytes]:
    """The header that gives a browser its session."""
    return _cookie(name, text.encode("ascii"), SESSION_MS // 1000)


def drop_cookies(headers: Mapping[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that take it back, under each name that was sent."""
    sent = cookies_of(headers)
    return tuple(_cookie(name, b"", 0) for name in _names(headers) if name in sent)


def _cookie(name: bytes, text: bytes, age_s: int) -> tuple[bytes, bytes]:
    secure = b"; Secure" if name.startswith(SECURE) else b""
    return (b"set-cookie", b"%s=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax%s" % (name, text, age_s, secure))


def origin_of(url: str) -> bytes:
    """The origin of an address of ours; empty for none."""
    found = urlsplit(url)
    return f"{found.scheme}://{found.netloc}".encode() if found.netloc else b""


def unless_said(extra: Headers, said: Headers) -> Headers:
    """`extra` without the headers of which a reply has its own; it may vary by several things."""
    names = {name for name, _ in said} - {b"vary"} if extra else ()
    return tuple(one for one in extra if one[0] not in names) if names else extra


def for_session(method: str, headers: Mapping[bytes, bytes], public_origin: bytes) -> Headers:
    """What the answer to a request by a session says. Raises CrossSite where it may change something and no page of
    ours sent it."""
    if method not in SAFE_METHODS:
        check_own_page(headers, public_origin)
    return FOR_SESSIONS


def check_own_page(headers: Mapping[bytes, bytes], public_origin: bytes = b"") -> None:
    """Raises CrossSite unless a page of this server, under the name that the request has or its public one, sent it."""
    origin = headers.get(b"origin", b"").lower()
    is_own = origin and (
        origin.partition(b"://")[2] == headers.get(b"host", b"").lower() or origin == public_origin.lower()
    )
    if not is_own or headers.get(OWN_HEADER) != b"1":
        raise CrossSite
