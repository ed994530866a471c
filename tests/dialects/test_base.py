"""The shape of a dialect: scopes, statuses, the headers of an error."""

from __future__ import annotations

import json

import pytest

from tests.support.calls import body_of
from towerlog import errors
from towerlog.dialects.base import STATUSES, ascii_json, error_headers, reply_json, scopes, status_of
from towerlog.errors import TowerlogError
from towerlog.model.principal import Scope


def every_error() -> list[TowerlogError]:
    """One of each class of the family."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TowerlogError)]
    return [errors.NotFound("run") if kind is errors.NotFound else kind() for kind in kinds]


def test_an_admin_key_does_everything() -> None:
    assert scopes(Scope.READ) == {Scope.READ, Scope.ADMIN}
    assert scopes() == {Scope.ADMIN}


def test_a_reply_is_compact_json() -> None:
    reply = reply_json({"a": [1, None]}, 201, ((b"x", b"y"),))
    assert (reply.status, reply.body, reply.content_type) == (201, b'{"a":[1,null]}', "application/json")
    assert reply.headers == ((b"x", b"y"),)
    assert body_of(reply) == {"a": [1, None]}


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_every_error_has_a_status_that_says_whose_fault_it_is(error: TowerlogError) -> None:
    status = status_of(error)
    ours = isinstance(error, errors.Overloaded | errors.StorageFailed | errors.Internal) or type(error) is TowerlogError
    assert status == STATUSES.get(error.code, status)
    assert (500 <= status < 600) if ours else (400 <= status < 500)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Malformed(), 400),
        (errors.Invalid(), 422),
        (errors.IdReused(), 409),
        (errors.ThreadBusy(), 409),
        (errors.NotWaiting(), 409),
        (errors.InProgress(), 409),
        (errors.IdempotencyMismatch(), 422),
        (errors.TooLarge(), 413),
        (errors.RateLimited(), 429),
        (errors.Overloaded(), 503),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_status_of_an_error(error: TowerlogError, status: int) -> None:
    assert status_of(error) == status


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_what_may_be_tried_again_says_when(error: TowerlogError) -> None:
    assert ((b"retry-after", b"1") in error_headers(error, 503)) == error.retryable


def test_the_wait_is_the_errors_own_where_it_has_one() -> None:
    assert error_headers(errors.RateLimited(retry_after=42), 429) == ((b"retry-after", b"42"),)
    assert error_headers(errors.RateLimited(retry_after=0), 429) == ((b"retry-after", b"0"),)


def test_only_a_401_says_how_to_authenticate() -> None:
    assert error_headers(errors.Unauthenticated(), 401) == ((b"www-authenticate", b"Bearer"),)
    assert error_headers(errors.Forbidden(), 403) == ()


@pytest.mark.parametrize(
    "text",
    [
        '{"a":"plain","b":[1e400,-0.0]}',
        '{"\u00c5":"na\u00efve \u2026 \u4e2d\u6587 \U0001f600"}',
        '{"a":"x\u0085y\u2028z\u2029","b":"\u007f"}',
        '{\t"a" :\t"\u00e9 \\" \\\\ \\u0000 \\u00e9 \\t \\/ \\\\u0000"}',
    ],
)
def test_json_is_the_same_in_ascii(text: str) -> None:
    made = ascii_json(text.encode())
    assert made.isascii()
    assert json.loads(made) == json.loads(text)
    assert len(made.decode().splitlines()) == 1
    if text.isascii():
        assert made == text.encode(), "what a sender wrote in ASCII is left as it was sent"
