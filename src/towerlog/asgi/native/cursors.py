"""Cursors of the native API: opaque to the caller, a kind and a key to us. A cursor of another list is refused."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode

from towerlog.dialects.reading import refuse
from towerlog.errors import Invalid

LONGEST = 1200


def write_cursor(kind: str, key: str | None) -> str | None:
    """The text of a cursor behind a row's key; None stays None: the list is at its end."""
    if key is None:
        return None
    return urlsafe_b64encode(f"{kind}:{key}".encode()).decode("ascii").rstrip("=")


def read_cursor(kind: str, text: str | None) -> str | None:
    """The key in a cursor of this kind; None for none. Raises Invalid for whatever we did not write."""
    if not text:
        return None
    if len(text) > LONGEST or not text.isascii():
        raise _bad()
    try:
        found, _, key = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _bad() from None
    if found != kind or write_cursor(kind, key) != text:
        raise _bad()
    return key


def read_number(kind: str, text: str | None) -> int:
    """The number in a cursor of this kind; 0 for none."""
    key = read_cursor(kind, text)
    if key is None:
        return 0
    if not (key.isascii() and key.isdigit() and len(key) <= 18):
        raise _bad()
    return int(key)


def read_step(kind: str, text: str | None) -> tuple[int, str] | None:
    """The step and agent in a cursor of this kind."""
    key = read_cursor(kind, text)
    if key is None:
        return None
    step, colon, agent = key.partition(":")
    if not colon or not (step.isascii() and step.isdigit() and len(step) <= 18):
        raise _bad()
    return int(step), agent


def _bad() -> Invalid:
    return refuse("cursor", "is not a cursor of this list")
