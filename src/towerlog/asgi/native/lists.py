"""Lists of the native API: `{"data": […], "next": cursor or null}`, keyset-paged, bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from towerlog.asgi.native.cursors import write_cursor
from towerlog.dialects.base import Call, Reply, reply_json
from towerlog.dialects.reading import query_int
from towerlog.model.outcome import Page

USUAL_LIMIT = 50
LARGEST_LIMIT = 200
LARGEST_EVENT_LIMIT = 1000
WHOLE_LIST = 1000
"""How much of a list without pages is shown."""

T = TypeVar("T")


class Listing(msgspec.Struct, Generic[T], frozen=True):
    """A page of a list."""

    data: list[T]
    next: str | None


class PageQuery(msgspec.Struct, frozen=True):
    """Which page."""

    limit: int = USUAL_LIMIT
    cursor: str | None = None


def limit_of(call: Call, largest: int = LARGEST_LIMIT) -> int:
    """How many rows are asked for."""
    return query_int(call.query, "limit", USUAL_LIMIT, 1, largest)


def page_reply(kind: str, page: Page, shape: Callable[[Any], object], key: str | None = None) -> Reply:
    """The reply of a page; `key` is the next page's where the page itself does not say it."""
    following = key if page.next is not None and key is not None else page.next
    return reply_json(Listing([shape(row) for row in page.rows], write_cursor(kind, following)))
