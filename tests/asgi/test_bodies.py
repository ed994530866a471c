"""Bodies: whole or in pieces, within their limit and their time, of a type that is taken."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Iterable
from typing import Any

import pytest

from tests.asgi.conversation import HandClock
from tests.support.wait import wait_until_async
from towerlog.asgi.bodies import DEADLINE_MS, Bodies, Disconnected, check_type, check_utf8
from towerlog.asgi.faults import Rejection
from towerlog.asgi.guard.admission import Admission
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


@pytest.fixture
def admission() -> Admission:
    return Admission(1000, 1)


@pytest.fixture
def bodies(clock: HandClock, admission: Admission) -> Bodies:
    return Bodies(clock, admission, 100)


@pytest.mark.parametrize("parts", [(b'{"a":1}',), (b'{"a"', b":1}"), (b"", b'{"a":1}', b"")])
async def test_a_body_comes_whole_or_in_pieces(bodies: Bodies, admission: Admission, parts: tuple[bytes, ...]) -> None:
    assert await bodies.collect(pieces(*parts), 0) == b'{"a":1}'
    assert admission.bytes_in_flight == 0


async def test_nothing_is_nothing_whatever_its_type(bodies: Bodies) -> None:
    headers = {b"content-type": b"application/x-www-form-urlencoded", b"content-encoding": b"gzip"}
    assert bodies.opened(await bodies.collect(pieces(b""), 0), headers, "json") == b""


async def test_the_limit_holds_while_reading(bodies: Bodies, admission: Admission) -> None:
    assert len(await bodies.collect(pieces(b"x" * 60, b"x" * 40), 0)) == 100
    sender = pieces(*[b"x" * 60] * 10)
    with pytest.raises(TooLarge):
        await bodies.collect(sender, 0)
    assert sender.asked == 2, "the rest is not read"
    with pytest.raises(TooLarge):
        await bodies.collect(pieces(b"x" * 101), 0)
    assert admission.bytes_in_flight == 0


def test_a_length_that_is_too_large_is_refused_before_reading(bodies: Bodies) -> None:
    assert bodies.declared_length({b"content-length": b"100"}) == 100
    assert bodies.declared_length({}) == 0
    with pytest.raises(TooLarge):
        bodies.declared_length({b"content-length": b"101"})
    for wrong in (b"-1", b"x", b"1e3", b"9" * 30, b""):
        with pytest.raises(Malformed):
            bodies.declared_length({b"content-length": wrong})


async def test_pieces_of_unknown_length_need_room(clock: HandClock) -> None:
    admission = Admission(50, 1)
    admission.take_bytes(1)
    with pytest.raises(Overloaded):
        await Bodies(clock, admission, 100).collect(pieces(b"x" * 60, b"y"), 0)
    assert admission.bytes_in_flight == 1


async def test_a_sender_that_leaves_is_not_answered(bodies: Bodies) -> None:
    for sender in (
        Sender([{"type": "http.disconnect"}]),
        Sender([*pieces(b"x", b"").messages[:1], {"type": "http.disconnect"}]),
    ):
        with pytest.raises(Disconnected):
            await bodies.collect(sender, 0)


@pytest.mark.parametrize("before", [0, 1], ids=["nothing yet", "in the middle"])
async def test_a_slow_sender_is_given_up(bodies: Bodies, clock: HandClock, before: int) -> None:
    sender = Sender([{"type": "http.request", "body": b"{", "more_body": True}][:before])
    reading = asyncio.create_task(bodies.collect(sender, 0))
    await wait_until_async(lambda: sender.asked > before, "the reading to wait")
    bodies.tick(clock.steady_ms() + DEADLINE_MS - 1)
    await asyncio.sleep(0)
    assert not reading.done()
    bodies.tick(clock.steady_ms() + DEADLINE_MS)
    with pytest.raises(Rejection, match="30 s") as caught:
        await reading
    assert caught.value.status == 408


async def test_a_cancellation_from_elsewhere_stays_one(bodies: Bodies) -> None:
    sender = Sender([])
    reading = asyncio.create_task(bodies.collect(sender, 0))
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
    for other in (b"application/json", b"application/vnd.x+json", b"text/plain"):
        with pytest.raises(Rejection, match="x-protobuf"):
            check_type(other, "binary")


async def test_what_takes_long_to_open_is_opened_beside_the_loop(clock: HandClock, admission: Admission) -> None:
    large = Bodies(clock, admission, 4 << 20)
    text = bytes(range(32, 127)) * 10_000
    noise = gzip.compress(bytes(hashlib.shake_128(b"x").hexdigest(70_000), "ascii") + text)
    headers = {b"content-encoding": b"gzip"}
    assert len(noise) > 64 * 1024
    assert large.opened(noise, headers, "json") is None
    assert (await large.opened_aside(noise, headers, "json")).endswith(text)
    with pytest.raises(Malformed):
        await large.opened_aside(gzip.compress(b"\xff"), headers, "json")


@pytest.mark.parametrize("body", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"a\xe2\x82"])
def test_text_that_is_no_utf8_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        check_utf8(body)
