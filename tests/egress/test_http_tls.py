"""A post over TLS: whose certificate is accepted, what is asked for by name, and what breaks."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Iterator, Sequence

import pytest
import trustme

from tests.egress.certificates import long_ago, serving, trusted
from tests.egress.receivers import (
    OK,
    ORG,
    Connection,
    answer_of,
    failure_of,
    outside,
    receiving,
    resolving,
    silent,
)
from tests.support.tables import table
from towerlog.egress.http import Poster
from towerlog.egress.outcomes import EgressFailure, Undelivered

NAME = "receiver.hooks-tests.net"


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """The server runs on uvloop, whose connections are others than asyncio's."""
    return "asyncio", {"use_uvloop": request.param}


def secure(names: Sequence[str] = ("127.0.0.1",)) -> Poster:
    return outside(resolving({NAME: names}), trust=trusted).poster


async def test_over_tls_the_name_is_asked_for_and_checked_and_the_address_is_the_checked_one() -> None:
    asked: list[str | None] = []
    context = serving(NAME)
    context.sni_callback = lambda _connection, name, _context: asked.append(name)
    async with receiving(tls=context) as receiver:
        answer = answer_of(await secure().post(f"https://{NAME}:{receiver.port}/x", b"{}", {}, org_id=ORG))
        assert receiver.connections[0].headers["host"] == f"{NAME}:{receiver.port}"
    assert (answer.status, answer.body, asked) == (200, b"ok", [NAME])


async def test_an_address_may_be_in_a_certificate_too() -> None:
    async with receiving(tls=serving("127.0.0.1")) as receiver:
        answer_of(await secure().post(f"https://127.0.0.1:{receiver.port}/", b"", {}, org_id=ORG))


def unsafe_contexts() -> Iterator[tuple[str, Callable[[], ssl.SSLContext], str]]:
    yield "another name", lambda: serving("other.hooks-tests.net"), "Hostname mismatch"
    yield "only a part of the name", lambda: serving("hooks-tests.net"), "Hostname mismatch"
    yield "a star for two parts", lambda: serving("*.net"), "Hostname mismatch"
    yield "an address", lambda: serving("127.0.0.1"), "Hostname mismatch"
    yield "expired", lambda: serving(NAME, not_after=long_ago()), "expired"
    yield "of an unknown authority", lambda: serving(NAME, ca=trustme.CA()), "unable to get local issuer"


@table("name, context, words", unsafe_contexts())
async def test_a_certificate_that_is_not_the_hosts_is_not_accepted(
    name: str, context: Callable[[], ssl.SSLContext], words: str
) -> None:
    async with receiving(tls=context()) as receiver:
        outcome = await secure().post(f"https://{NAME}:{receiver.port}/", b"secret", {}, org_id=ORG)
        assert failure_of(outcome) is EgressFailure.TLS
        assert isinstance(outcome, Undelivered)
        assert words in outcome.words
        assert all(connection.request == b"" for connection in receiver.connections)


async def test_without_tls_there_is_no_answer_to_https() -> None:
    async def plain(connection: Connection) -> None:
        await connection.reader.read(10)
        await connection.say(OK)

    async with receiving(plain) as receiver:
        outcome = await secure().post(f"https://{NAME}:{receiver.port}/", b"", {}, org_id=ORG)
        assert failure_of(outcome) is EgressFailure.TLS


async def test_old_tls_is_not_spoken() -> None:
    context = serving(NAME)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with receiving(tls=context) as receiver:
        outcome = await secure().post(f"https://{NAME}:{receiver.port}/", b"", {}, org_id=ORG)
        assert failure_of(outcome) is EgressFailure.TLS


async def test_a_handshake_that_is_broken_off() -> None:
    async def leave(connection: Connection) -> None:
        await connection.reader.read(10)
        connection.writer.transport.abort()

    async with receiving(leave) as receiver:
        outcome = await secure().post(f"https://{NAME}:{receiver.port}/", b"", {}, org_id=ORG)
        assert failure_of(outcome) is EgressFailure.TLS


@pytest.mark.usefixtures("hurried")
async def test_a_handshake_that_does_not_end_ends_at_the_deadline() -> None:
    async with receiving(silent) as receiver:
        outcome = await secure().post(f"https://{NAME}:{receiver.port}/", b"", {}, org_id=ORG)
        assert failure_of(outcome) is EgressFailure.TOO_SLOW
        await asyncio.wait_for(receiver.ended.wait(), 60)


async def test_tls_that_breaks_in_the_answer_is_a_connection_that_was_lost() -> None:
    async def garbled(connection: Connection) -> None:
        await connection.read_request()
        raw = connection.writer.get_extra_info("socket")
        os.write(raw.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
        await connection.reader.read()

    async with receiving(garbled, tls=serving(NAME)) as receiver:
        outcome = await secure().post(f"https://{NAME}:{receiver.port}/", b"", {}, org_id=ORG)
        assert failure_of(outcome) is EgressFailure.BROKEN_OFF
