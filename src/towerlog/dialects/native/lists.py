"""Lists of the native API: `{"data": […], "next": cursor or null}`, keyset-paged, bounded; and their opaque cursors."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Call, Reply, reply_json
from towerlog.dialects.fields import invalid_field, query_int
from towerlog.errors import Invalid
from towerlog.model.outcome import Page

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_EVENT_LIMIT = 1000
WHOLE_LIST = 1000
"""Rows of a list that has no pages."""

T = TypeVar("T")


class Listing(msgspec.Struct, Generic[T], frozen=True):
    """A page of a list."""

    data: Annotated[list[T], v.said("The rows of this page.")]
    next: v.NextCursor | None


class CursorQuery(msgspec.Struct, frozen=True):
    """Which page."""

    schema_name: ClassVar[str] = "PageQuery"
    limit: Annotated[int, v.limit(MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: v.Cursor | None = None


def limit_of(call: Call, largest: int = MAX_LIMIT) -> int:
    """How many rows are asked for."""
    return query_int(call.query, "limit", DEFAULT_LIMIT, 1, largest)


def page_reply(kind: str, page: Page, shape: Callable[[Any], object], key: str | None = None) -> Reply:
    """The reply of a page; `key` is the next page's where the page itself does not say it."""
    following = key if page.next is not None and key is not None else page.next
    return reply_json(Listing([shape(row) for row in page.rows], write_cursor(kind, following)), 200, live_header(page))


def live_header(page: Page) -> tuple[tuple[bytes, bytes], ...]:
    """From where on a stream of changed rows tells what is not on this page."""
    return () if page.live_cursor is None else ((b"x-live-cursor", page.live_cursor.encode("ascii")),)


MAX_CURSOR_CHARS = 1200


def write_cursor(kind: str, key: str | None) -> str | None:
    """The cursor after a row's key; None for None: the list ends here."""
    if key is None:
        return None
    return urlsafe_b64encode(f"{kind}:{key}".encode()).decode("ascii").rstrip("=")


def read_cursor(kind: str, text: str | None) -> str | None:
    """The key in a cursor of this kind; None for no cursor. Raises Invalid for text that is not such a cursor."""
    if not text:
        return None
    if len(text) > MAX_CURSOR_CHARS or not text.isascii():
        raise _bad()
    try:
        found, _, key = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _bad() from None
    # Base64 has several spellings of one value; only the one that we write is accepted.
    if found != kind or write_cursor(kind, key) != text:
        raise _bad()
    return key


def read_number(kind: str, text: str | None) -> int:
    """The number in a cursor of this kind; 0 for no cursor."""
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
    return invalid_field("cursor", "is not a cursor of this list")
