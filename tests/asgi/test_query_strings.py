"""Query strings: decoded once, bounded; the last of several values wins where several may come."""

from __future__ import annotations

import pytest

from towerlog.asgi.faults import Rejection
from towerlog.asgi.query_strings import MAX_FIELDS, parse_query
from towerlog.errors import Invalid, Malformed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", {}),
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"a=1&a=2", {"a": "2"}),
        (b"a=&b", {"a": "", "b": ""}),
        (b"q=a+b%20c%26d", {"q": "a b c&d"}),
        (b"q=%D0%BF", {"q": "п"}),
        (b"q=%ff", {"q": "\ufffd"}),
        (b"q=%2525", {"q": "%25"}),
        (b"a;b=1", {"a;b": "1"}),
    ],
)
def test_fields_are_read(text: bytes, expected: dict[str, str]) -> None:
    assert dict(parse_query(text)) == expected


def test_a_name_that_may_come_once_is_refused_when_it_comes_twice() -> None:
    assert parse_query(b"a=1&b=1", once=True) == {"a": "1", "b": "1"}
    with pytest.raises(Invalid) as caught:
        parse_query(b"a=1&b=2&b=3", once=True)
    assert caught.value.details == {"b": "is given more than once"}


def test_what_is_too_much_is_refused() -> None:
    assert len(parse_query(b"&".join(b"f%d=1" % n for n in range(MAX_FIELDS)))) == MAX_FIELDS
    with pytest.raises(Malformed):
        parse_query(b"&".join(b"f%d=1" % n for n in range(MAX_FIELDS + 1)))
    with pytest.raises(Rejection) as caught:
        parse_query(b"q=" + b"x" * 9000)
    assert caught.value.status == 414
