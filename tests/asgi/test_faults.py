"""Refusals: every error class leaves every dialect with the right status and the headers that belong to it."""

from __future__ import annotations

import json

import pytest

from towerlog import errors
from towerlog.asgi.faults import Rejection, explain, with_headers
from towerlog.asgi.pages.refusals import error_samples
from towerlog.dialects import DIALECTS
from towerlog.dialects.base import Dialect, Reply
from towerlog.dialects.native import NATIVE

EVERYBODY = (*DIALECTS, NATIVE)
TRACE = "b" * 32


@pytest.mark.parametrize("dialect", EVERYBODY, ids=lambda dialect: dialect.name)
def test_every_error_can_be_explained_in_every_dialect(dialect: Dialect) -> None:
    for error in error_samples():
        reply = explain(dialect, error, TRACE)
        headers = {name.lower(): value for name, value in reply.headers}
        assert 400 <= reply.status < 600, error
        assert json.loads(reply.body), error
        assert (b"www-authenticate" in headers) == (reply.status == 401), error
        if reply.status in (429, 503):
            assert int(headers[b"retry-after"]) >= 1, error


def test_the_samples_are_the_whole_family() -> None:
    classes = {
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.TowerlogError)
    }
    assert {type(error) for error in error_samples()} >= classes


@pytest.mark.parametrize("dialect", EVERYBODY, ids=lambda dialect: dialect.name)
def test_a_status_that_only_http_knows_keeps_the_dialects_words(dialect: Dialect) -> None:
    plain = explain(dialect, errors.Malformed("no form"), TRACE)
    reply = explain(dialect, Rejection(415, errors.Malformed("no form"), ((b"accept", b"x"),)), TRACE)
    assert reply.status == 415
    assert (b"accept", b"x") in reply.headers
    assert set(json.loads(reply.body)) == set(json.loads(plain.body))


def test_a_problem_says_its_new_status_inside() -> None:
    reply = explain(NATIVE, Rejection(405, errors.NotFound("method", "no")), TRACE)
    assert {"status": 405, "title": "Method Not Allowed", "detail": "no"}.items() <= json.loads(reply.body).items()


def test_a_header_that_is_there_is_not_sent_twice() -> None:
    reply = Reply(429, b"", headers=((b"Retry-After", b"9"),))
    assert with_headers(reply, ((b"retry-after", b"1"),)) == reply
