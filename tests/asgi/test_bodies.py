"""Bodies: whole or in pieces, within their limit and their time, of a type that is taken."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Iterable
from typing import Any

import pytest

from tests.support.wait import wait_until_async
from towerlog.asgi.bodies import Bodies, Disconnected, check_type
from towerlog.asgi.faults import Rejection
from towerlog.asgi.guard.decoding import check_utf8
from towerlog.errors import Malformed, Overloaded, TooLarge


class Sender:
    """Says what it is told, then nothing; counts how often it was asked."""

    def __init__(self, messages: Iterable[dict[str, Any]]) -> None:
        self.messages = list(messages)
        self.asked = 0

    async def __call__(self) -> dict[str, Any]:
        self.asked += 1
        if not self.messages:
            await asyncio.Event().wait()
        return self.messages.pop(0)


def pieces(*parts: bytes) -> Sender:
    last = len(parts) - 1
    return Sender({"type": "http.request", "body": part, "more_body": at < last} for at, part in enumerate(parts))


class Room:
    """What was asked for, and a bound to it."""

    def __init__(self, bound: int = 1000) -> None:
        self.bound = bound
        self.taken: list[int] = []

    def __call__(self, wanted: int) -> None:
        if wanted > self.bound:
            raise Overloaded
        self.taken.append(wanted)


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def bodies() -> Bodies:
    return Bodies(100)


@pytest.mark.parametrize("parts", [(b'{"a":1}',), (b'{"a"', b":1}"), (b"", b'{"a":1}', b"")])
async def test_a_body_comes_whole_or_in_pieces(bodies: Bodies, room: Room, parts: tuple[bytes, ...]) -> None:
    """It is counted as it comes."""
    assert await bodies.collect(pieces(*parts), room) == b'{"a":1}'
    assert room.taken == [len(b"".join(parts[: at + 1])) for at in range(len(parts))]


async def test_nothing_is_nothing_whatever_its_type(bodies: Bodies) -> None:
    headers = {b"content-type": b"application/x-www-form-urlencoded", b"content-encoding": b"gzip"}
    assert bodies.opened(await bodies.collect(pieces(b""), Room()), headers, "json") == b""


async def test_the_limit_holds_while_reading(bodies: Bodies, room: Room) -> None:
    assert len(await bodies.collect(pieces(b"x" * 60, b"x" * 40), room)) == 100
    sender = pieces(*[b"x" * 60] * 10)
    with pytest.raises(TooLarge):
        await bodies.collect(sender, room)
    assert sender.asked == 2, "the rest is not read"
    with pytest.raises(TooLarge):
        await bodies.collect(pieces(b"x" * 101), room)


def test_a_length_that_is_too_large_is_refused_before_reading(bodies: Bodies) -> None:
    assert bodies.declared_length({b"content-length": b"100"}) == 100
    assert bodies.declared_length({}) == 0
    with pytest.raises(TooLarge):
        bodies.declared_length({b"content-length": b"101"})
    for wrong in (b"-1", b"x", b"1e3", b"9" * 30, b""):
        with pytest.raises(Malformed):
            bodies.declared_length({b"content-length": wrong})


async def test_pieces_need_room(bodies: Bodies) -> None:
    sender = pieces(b"x" * 30, b"x" * 30, b"x")
    with pytest.raises(Overloaded):
        await bodies.collect(sender, Room(50))
    assert sender.asked == 2, "the rest is not read"


async def test_a_sender_that_leaves_is_not_answered(bodies: Bodies) -> None:
    for sender in (
        Sender([{"type": "http.disconnect"}]),
        Sender([*pieces(b"x", b"").messages[:1], {"type": "http.disconnect"}]),
    ):
        with pytest.raises(Disconnected):
            await bodies.collect(sender, Room())


async def test_what_the_connection_says_of_its_sender_is_the_refusal(bodies: Bodies) -> None:
    late = Rejection(408, Malformed("The body did not arrive within 30 s."))
    for before in (0, 1):
        said = [{"type": "http.request", "body": b"{", "more_body": True}][:before]
        with pytest.raises(Rejection) as caught:
            await bodies.collect(Sender([*said, {"type": "http.disconnect", "fault": late}]), Room())
        assert caught.value is late


async def test_a_cancellation_from_elsewhere_stays_one(bodies: Bodies) -> None:
    sender = Sender([])
    reading = asyncio.create_task(bodies.collect(sender, Room()))
    await wait_until_async(lambda: sender.asked, "the reading to wait")
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


@pytest.mark.parametrize(
    "given",
    [
        None, b"", b"application/json", b"APPLICATION/JSON", b"application/json;charset=UTF-8",
        b"application/json; x=y", b'application/json; charset="utf-8"', b"application/vnd.x+json",
        b"application/cloudevents+json; charset=utf-8",
    ],
)  # fmt: skip
def test_json_passes(given: bytes | None) -> None:
    check_type(given, "json")


@pytest.mark.parametrize(
    "given",
    [
        b"application/x-www-form-urlencoded", b"text/plain", b"text/json", b"json", b"multipart/form-data; boundary=x",
        b"application/json; charset=utf-16", b"application/x-ndjson", b"\xff\xfe", b"text/x+json",
    ],
)  # fmt: skip
def test_anything_else_is_a_415(given: bytes) -> None:
    with pytest.raises(Rejection) as caught:
        check_type(given, "json")
    assert caught.value.status == 415


def test_an_endpoint_may_take_more() -> None:
    check_type(b"application/x-ndjson", "ndjson")
    check_type(b"application/json", "ndjson")


def test_a_binary_body_need_not_be_text(bodies: Bodies) -> None:
    headers = {b"content-type": b"application/x-protobuf"}
    assert bodies.opened(b"\xff\xfe", headers, "binary") == b"\xff\xfe"
    with pytest.raises(Malformed):
        bodies.opened(b"\xff\xfe", {}, "json")
    check_type(b"application/json", "binary")
    for other in (b"application/vnd.x+json", b"text/plain"):
        with pytest.raises(Rejection, match="x-protobuf"):
            check_type(other, "binary")


@pytest.mark.parametrize(
    "text",
    [
        bytes(hashlib.shake_128(b"x").hexdigest(20_000), "ascii"),
        bytes(range(32, 127)) * 10_000,
    ],
    ids=["large as it is sent", "large once it is opened"],
)
async def test_what_takes_long_to_open_is_opened_beside_the_loop(text: bytes) -> None:
    large, headers = Bodies(4 << 20), {b"content-encoding": b"gzip"}
    packed = gzip.compress(text)
    assert large.opened(packed, headers, "json") is None
    assert await large.opened_aside(packed, headers, "json") == text
    with pytest.raises(Malformed):
        await large.opened_aside(gzip.compress(b"\xff"), headers, "json")
    assert large.opened(gzip.compress(text[:1000]), headers, "json") == text[:1000]


@pytest.mark.parametrize("body", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"a\xe2\x82"])
def test_text_that_is_no_utf8_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        check_utf8(body)
