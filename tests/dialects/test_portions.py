"""Which bytes of a body are which event is seen without decoding it, however the body is spelled or cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towerlog.dialects import portions as p
from towerlog.dialects.structure import pieces_of

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.text('a"\\[]{},: é\n', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('b"\\]},', max_size=3), inner, max_size=3),
    max_leaves=20,
)
events = st.lists(values, max_size=6)
spelled = st.sampled_from([{}, {"indent": 1}, {"separators": (" , ", " : ")}, {"ensure_ascii": False}])


def texts(body: bytes, spans: list[p.Span]) -> list[Any]:
    """What stands there."""
    return [json.loads(body[begin:end]) for begin, end in spans]


@settings(max_examples=150)
@given(
    events, st.dictionaries(st.text('cd"\\{', min_size=1, max_size=4), values, max_size=3), spelled, st.integers(2, 20)
)
def test_the_events_of_an_object_are_found(
    sent: list[Any], others: dict[str, Any], how: dict[str, Any], longest: int
) -> None:
    body = b" " + json.dumps({**others, "events": sent, "last": 1}, **how).encode() + b"\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(p, "PIECE_BYTES", longest)
        patch.setattr(p, "FINE_BYTES", 2)
        found = p.found_in(body, is_one=False)
    assert found is not None
    assert texts(body, found.events) == sent
    assert texts(body, list(found.others.values())) == [*others.values(), 1]
    assert p.found_in(body, is_one=True) is None


@settings(max_examples=100)
@given(events, spelled)
def test_the_events_of_an_array_and_of_lines_are_found(sent: list[Any], how: dict[str, Any]) -> None:
    body = json.dumps(sent, **how).encode()
    found = p.found_in(body, is_one=True)
    assert found is not None
    assert texts(body, found.events) == sent
    lines = b"\n\n".join(json.dumps([one]).encode() for one in sent) + b"\n"
    found = p.found_in(lines, is_one=True)
    if len(sent) > 1:
        assert found is not None
        assert texts(lines, found.events) == [[one] for one in sent]


@pytest.mark.parametrize(
    "body",
    [b"", b"1", b'"[]"', b"[1,2", b'{"events":[1,2}', b'{"events":{}}', b'{"events":1}', b"[" + b"0," * 1001 + b"0]"],
)
def test_where_no_events_can_be_seen_none_are_told(body: bytes) -> None:
    assert p.found_in(body, is_one=False) is None


def test_an_object_without_events_has_none() -> None:
    assert p.found_in(b'{"a":1,"b":[2]}', is_one=False) == p.EventsFound([], {"a": (5, 6), "b": (11, 14)})


def test_what_stands_for_an_event_has_its_short_members() -> None:
    event = {"event_id": "e", "type": "step", "data": "x" * p.MAX_SHOWN_BYTES, "n": 1}
    body = json.dumps([event]).encode()
    assert json.loads(p.stand_in(body, (1, len(body) - 1))) == {**event, "data": None}
    many = json.dumps({str(number): 1 for number in range(p.MAX_SHOWN_MEMBERS + 1)}).encode()
    assert p.stand_in(many, (0, len(many))) == p.stand_in(b"[1]", (0, 3)) == p.NOT_NOW


def test_portions_have_all_events_in_their_order_and_no_more_than_may_be() -> None:
    assert p.portions([3, 3, 3, 9, 0, 1], 10, 1) == [[0, 1, 2], [3, 4], [5]]
    assert p.portions([], 10, 1) == [[]]
    assert p.replaced(b"abcdef", [((1, 2), b"--"), ((4, 6), b"")]) == b"a--cd"


def test_pieces_may_begin_anywhere() -> None:
    assert b"".join(pieces_of(b"0123456789", 3, start=4)) == b"456789"
