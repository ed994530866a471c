"""What counts as the same body again."""

from __future__ import annotations

import pytest

from towerlog.model.chain import SPELLED_BYTES, content_digest
from towerlog.model.content import same_json, without_blanks

SAME = [
    (b'{"a":1,"b":2}', b'{"b":2,"a":1}'),
    (b'{"a":"\\u00e9"}', '{"a":"é"}'.encode()),
    (b'{"a": [ 1, {} ]}', b'{"a":[1,{}]}'),
    (b'{"a":1e400}', b'{"a":1e400}'),
    (b'{"a":0.10}', b'{"a":0.1}'),
    (b'{"a":1.0}', b'{"a":1}'),
]
OTHER = [
    (b'{"a":1}', b'{"a":2}'),
    (b'{"a":1}', b'{"a":1,"b":null}'),
    (b'{"a":1}', b'{"a":"1"}'),
    (b'{"a":1}', b'{"a":true}'),
    (b'{"a":[0]}', b'{"a":[false]}'),
    (b'{"a":1e400}', b'{"a":1e401}'),
    (b'{"a":[1,2]}', b'{"a":[2,1]}'),
]


@pytest.mark.parametrize(("ours", "theirs"), SAME)
def test_spelling_makes_no_difference(ours: bytes, theirs: bytes) -> None:
    assert same_json(ours, theirs)


@pytest.mark.parametrize(("ours", "theirs"), OTHER)
def test_content_does(ours: bytes, theirs: bytes) -> None:
    assert not same_json(ours, theirs)


def test_what_the_server_has_added_is_no_content() -> None:
    assert same_json(b'{"question_id":7,"x":1}', b'{"x":1,"question_id":9}', ("question_id",))
    assert not same_json(b'{"question_id":7,"x":1}', b'{"x":1}')


def test_a_text_is_short_without_its_blanks() -> None:
    assert without_blanks(b"{ }") == b"{ }"
    assert without_blanks(b"{" + b" " * SPELLED_BYTES + b"}") == b"{}"
    assert without_blanks(b"{" + b" " * (4 * SPELLED_BYTES) + b"}") is None
    assert without_blanks(b'{"a":"' + b"x" * SPELLED_BYTES + b'"}') is None


def test_blanks_between_the_tokens_of_a_long_body_make_no_difference() -> None:
    value = b'"' + b"x" * SPELLED_BYTES + b'"'
    assert content_digest(b'{"a":%s}' % value) == content_digest(b'{ "a" : %s }' % value)
    assert content_digest(b'{"a":%s}' % value) != content_digest(b'{"a":"x%s}' % value[1:])
    assert content_digest(b'{"a":1}') != content_digest(b'{"a": 1}')
