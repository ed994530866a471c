"""Certificates for the servers of these tests, and the trust that goes with them."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from functools import cache

import trustme


@cache
def authority() -> trustme.CA:
    return trustme.CA()


def trusted() -> ssl.SSLContext:
    """Trusts the certificates of `serving`, and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context


def serving(*names: str, ca: trustme.CA | None = None, not_after: datetime | None = None) -> ssl.SSLContext:
    """For a server that shows a certificate for these names."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    (ca or authority()).issue_cert(*names, not_after=not_after).configure_cert(context)
    return context


def long_ago() -> datetime:
    return datetime(2001, 1, 1, tzinfo=UTC)
