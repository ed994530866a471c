"""What the URL of a database may ask of the server that it leads to. Needs no driver."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

ATTRIBUTE = "target_session_attrs"
WRITABLE = frozenset({"any", "read-write", "primary"})
"""The others that libpq knows (`standby`, `prefer-standby`, `read-only`) ask for a server that takes no writes."""


def unfit_attribute(url: str) -> str | None:
    """Why a server that the URL asks for cannot keep a store; None where it can."""
    asked = dict(parse_qsl(urlsplit(url).query)).get(ATTRIBUTE, "any")
    if asked in WRITABLE:
        return None
    return (
        f"{ATTRIBUTE}={asked} does not ask for a server that takes writes: write {ATTRIBUTE}=read-write (or"
        " primary), or leave it out"
    )
