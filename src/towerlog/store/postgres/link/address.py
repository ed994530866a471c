"""What the URL of a database may ask of the server that it leads to. Needs no driver."""

from __future__ import annotations

import os
from urllib.parse import parse_qsl, urlsplit

ATTRIBUTE, VARIABLE = "target_session_attrs", "PGTARGETSESSIONATTRS"
WRITABLE = frozenset({"any", "read-write", "primary"})
"""The others that libpq knows (`standby`, `prefer-standby`, `read-only`) ask for a server that takes no writes."""


def unfit_attribute(url: str) -> str | None:
    """Why a server that the URL, or the environment for it, asks for cannot keep a store; None where it can."""
    in_url = dict(parse_qsl(urlsplit(url).query)).get(ATTRIBUTE)
    source, asked = (ATTRIBUTE, in_url) if in_url else (VARIABLE, os.environ.get(VARIABLE, "any"))
    if asked in WRITABLE:
        return None
    return (
        f"{source}={asked} does not ask for a server that takes writes: write {ATTRIBUTE}=read-write (or primary), or"
        " leave it out"
    )
