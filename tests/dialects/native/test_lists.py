"""Lists: bounded, and with a cursor where there is more."""

from __future__ import annotations

import json

import pytest

from towerlog.dialects.base import Call, DialectSettings
from towerlog.dialects.native.lists import DEFAULT_LIMIT, MAX_LIMIT, limit_of, page_reply, read_cursor
from towerlog.errors import Invalid
from towerlog.model.outcome import Page
from towerlog.model.principal import Principal
from towerlog.model.thread import ThreadRow


def call(**query: str) -> Call:
    return Call(Principal(1, "o", "u", "k", frozenset()), {}, query, {}, b"", DialectSettings(), "t", 0)


def test_limits() -> None:
    assert limit_of(call()) == DEFAULT_LIMIT
    assert limit_of(call(limit="1")) == 1
    assert limit_of(call(limit=str(MAX_LIMIT))) == MAX_LIMIT
    assert limit_of(call(limit="500"), 1000) == 500
    for wrong in ("0", "-1", "x", "1.5", str(MAX_LIMIT + 1), "9" * 40):
        with pytest.raises(Invalid):
            limit_of(call(limit=wrong))


def test_a_page_says_where_the_next_begins() -> None:
    rows = [ThreadRow(1, "t1", 0), ThreadRow(1, "t2", 0)]
    more = json.loads(page_reply("threads", Page(rows, "t2"), lambda row: row.thread_id).body)
    assert more["data"] == ["t1", "t2"]
    assert read_cursor("threads", more["next"]) == "t2"
    assert json.loads(page_reply("threads", Page(rows), lambda row: row.thread_id).body)["next"] is None


def test_a_key_of_our_own_is_used_only_where_there_is_more() -> None:
    page = json.loads(page_reply("x", Page([], "theirs"), str, "ours").body)
    assert read_cursor("x", page["next"]) == "ours"
    assert json.loads(page_reply("x", Page([]), str, "ours").body)["next"] is None
