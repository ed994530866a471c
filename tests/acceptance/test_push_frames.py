"""Frames of live push that no client sends: each is bounded, and the socket ends with the code that says why."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice

import httpx2
import pytest

from tests.support.figures import no_block
from tests.support.pusher import BINARY, CLOSE, CONT, FIN, PING, PONG, TEXT, PusherClient, frame
from tests.support.server import Server

PING_MESSAGE = b'{"event":"pusher:ping"}'
LONG = 16 * 1024 + 1

BROKEN: dict[str, tuple[list[bytes], int]] = {
    "unmasked": ([frame(TEXT, PING_MESSAGE, masked=False)], 1002),
    "a reserved bit": ([frame(TEXT, PING_MESSAGE, first=FIN | 0x40)], 1002),
    "all reserved bits": ([frame(PING, first=FIN | 0x70)], 1002),
    "a reserved opcode": ([frame(0x3, b"x")], 1002),
    "a reserved control opcode": ([frame(0xB)], 1002),
    "a control frame that is too long": ([frame(PING, b"x" * 126)], 1002),
    "a control frame in fragments": ([frame(PING, b"x", first=0)], 1002),
    "a continuation of nothing": ([frame(CONT, b"x")], 1002),
    "a message inside another": ([frame(TEXT, b"{", first=0), frame(TEXT, b"}")], 1002),
    "a close inside a message": ([frame(TEXT, b"{", first=0), frame(CLOSE, b"\x03\xe8")], 1002),
    "a close of one byte": ([frame(CLOSE, b"\x03")], 1002),
    "a close with a code that is none": ([frame(CLOSE, struct.pack(">H", 999))], 1002),
    "a close with a reason that is no text": ([frame(CLOSE, b"\x03\xe8\xff")], 1007),
    "text that is no UTF-8": ([frame(TEXT, b'{"event":"\xff"}')], 1007),
    "UTF-8 that is cut": ([frame(TEXT, "é".encode()[:1])], 1007),
    "a surrogate": ([frame(TEXT, b"\xed\xa0\x80")], 1007),
    "binary": ([frame(BINARY, b"x")], 1003),
    "a message that is too long": ([frame(TEXT, b"x" * LONG)], 1009),
    "a length alone that is too long": ([bytes([FIN | TEXT, FIN | 127]) + struct.pack(">Q", 1 << 40)], 1009),
    "fragments that are too long together": (
        [frame(TEXT, b"x" * 9000, first=0), frame(CONT, b"x" * 9000, first=0)],
        1009,
    ),
    "no end of empty fragments": ([frame(TEXT, b"", first=0), *[frame(CONT, b"", first=0)] * 5000], 4100),
    "no end of pings": ([frame(PING)] * 5000, 4100),
    "no end of pongs": ([frame(PONG)] * 5000, 4100),
}


@pytest.fixture
def connected(server: Server) -> Iterator[PusherClient]:
    """On the shared server."""
    with PusherClient(server.base_url) as client:
        yield client.connect()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_frame_ends_it_with_the_code_that_says_why(connected: PusherClient, name: str) -> None:
    frames, code = BROKEN[name]
    connected.send(*frames)
    assert connected.end()[0] == code


@pytest.mark.parametrize("reason", [b"", struct.pack(">H", 1000), struct.pack(">H", 4999) + b"bye"])
def test_a_close_is_answered_in_kind(connected: PusherClient, reason: bytes) -> None:
    connected.send(frame(CLOSE, reason))
    assert connected.frame() == (CLOSE, reason)
    assert connected.socket.recv(1) == b"", "and the connection ends"


def test_fragments_make_a_message_whatever_comes_between(connected: PusherClient) -> None:
    connected.send(frame(TEXT, PING_MESSAGE[:9], first=0), frame(PING, b"?"), frame(CONT, b"", first=0))
    assert connected.frame() == (PONG, b"?")
    connected.send(frame(CONT, PING_MESSAGE[9:]))
    assert connected.message()["event"] == "pusher:pong"


def test_a_message_may_come_byte_by_byte(connected: PusherClient) -> None:
    for byte in frame(TEXT, PING_MESSAGE):
        connected.send(bytes([byte]))
    assert connected.message()["event"] == "pusher:pong"


def test_a_hundred_thousand_subscriptions_end_it_and_block_nobody(server: Server, connected: PusherClient) -> None:
    asked = {"event": "pusher:subscribe", "data": {"channel": "private-user.x", "auth": "x"}}
    flood = frame(TEXT, json.dumps(asked).encode()) * 100_000
    with no_block(server, "a flood of subscriptions"), PusherClient(server.base_url) as other:
        try:
            connected.send(flood)
        except (ConnectionResetError, BrokenPipeError):
            return  # it was cut off before it had sent all of it
        code, _, said = connected.end()
        assert code == 4100
        assert len(said) < 500
        other.connect()


REFUSED = json.dumps(
    {"event": "pusher:subscribe", "data": {"channel": f"private-user.{'z' * 100}", "auth": f"towerlog:{'a' * 64}"}}
).encode()
"""What costs the server most for each frame: it is signed to be compared, and answered."""
FEW = 280
"""Such frames that one socket may send at once, with what their bytes count for."""


@pytest.mark.parametrize(
    ("one", "few", "answer"), [(frame(TEXT, REFUSED), FEW, TEXT), (frame(PING), 390, PONG)], ids=["refused", "pings"]
)
def test_frames_on_many_sockets_at_once_are_heard_in_turns(server: Server, one: bytes, few: int, answer: int) -> None:
    """About as many as all of them may send: each is answered, and nobody else waits for them."""
    address = f"127.0.{9 if answer is TEXT else 10}.{{}}"
    with ExitStack() as open_until, no_block(server, "bursts on many sockets"):
        sockets = [
            open_until.enter_context(PusherClient(server.base_url, source=address.format(1 + at // 20))).connect()
            for at in range(60)
        ]
        for each in sockets:
            each.send(one * few)
        for each in sockets:
            assert [each.frame()[0] for _ in range(few)] == [answer] * few


def test_sockets_of_one_address_are_bounded_together_and_those_of_a_key_by_themselves(
    server: Server, client: httpx2.Client
) -> None:
    address = "127.0.11.1"
    with PusherClient(server.base_url, source=address) as known:
        channel = f"private-user.{client.get('/api/v1/whoami').json()['user_id']}"
        known.connect().subscribe(client, channel)
        codes = []
        for _ in range(60):
            with PusherClient(server.base_url, source=address) as one:
                one.connect().send(frame(PONG) * 390 + frame(CLOSE, struct.pack(">H", 1000)))
                codes.append(one.end()[0])
        assert set(codes) == {1000, 4100}
        assert codes.index(4100) >= 10_000 // 400
        with PusherClient(server.base_url, source="127.0.11.2") as other:
            for one in (known, other.connect()):
                one.send(frame(PING) * 300)
                # The server may ask in between whether it is still there.
                answers = (kind for kind in iter(lambda one=one: one.frame()[0], CLOSE) if kind != TEXT)
                assert list(islice(answers, 300)) == [PONG] * 300
