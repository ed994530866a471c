"""Tests of the stream reader that the acceptance tests lean on, against a socket that says exactly what it is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.support.sse import EventStream, Frame, FrameParser, StreamEnded, parse_frames

WHOLE = ': ping\n\nretry: 1000\n\nid: 1\ndata: {"a":1}\n\nid: 2\nevent: end\ndata: one\ndata: größer\n\n'.encode()
FRAMES = [
    Frame(comments=["ping"]),
    Frame(retry="1000"),
    Frame(id="1", data='{"a":1}'),
    Frame(id="2", event="end", data="one\ngrößer"),
]

Talk = Callable[[bytes], str]


@pytest.fixture
def talk() -> Iterator[Talk]:
    """Makes a server that answers one request with these bytes and hangs up; its URL."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(answer: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/events?follow=true"

    yield start
    for thread in threads:
        thread.join(60)
    for listener in listeners:
        listener.close()


def chunked(body: bytes, size: int) -> bytes:
    """A 200 whose body comes in chunks of this size."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    coded = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n"


def test_frames_are_the_same_wherever_the_bytes_were_cut() -> None:
    assert parse_frames(WHOLE) == FRAMES
    for size in range(1, len(WHOLE)):
        parser = FrameParser()
        parts = [WHOLE[at : at + size] for at in range(0, len(WHOLE), size)]
        assert [frame for part in parts for frame in parser.feed(part)] == FRAMES


def test_a_frame_without_its_blank_line_is_no_frame() -> None:
    assert parse_frames(WHOLE[:-1]) == FRAMES[:-1]


def test_windows_line_ends_are_understood() -> None:
    assert parse_frames(WHOLE.replace(b"\n", b"\r\n")) == FRAMES


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_chunked_stream_is_read_to_its_end(talk: Talk, size: int) -> None:
    with EventStream(talk(chunked(WHOLE, size)), {}) as stream:
        assert stream.status == 200
        assert list(stream.rest()) == FRAMES
        with pytest.raises(StreamEnded):
            stream.next_frame()


def test_a_plain_body_is_read_to_its_end(talk: Talk) -> None:
    head = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(WHOLE)
    with EventStream(talk(head + WHOLE), {}) as stream:
        assert stream.status == 404
        assert list(stream.rest()) == FRAMES


def test_a_body_without_a_length_ends_with_the_connection(talk: Talk) -> None:
    with EventStream(talk(b"HTTP/1.1 200 OK\r\n\r\n" + WHOLE), {}) as stream:
        assert list(stream.rest()) == FRAMES


@pytest.mark.parametrize("cut_at", range(len(WHOLE) + 1))
def test_a_cut_leaves_the_frames_that_were_complete(talk: Talk, cut_at: int) -> None:
    stream = EventStream(talk(chunked(WHOLE, 5)), {})
    assert stream.frames_of_first(cut_at) == parse_frames(WHOLE[:cut_at])


def test_silence_is_a_timeout(talk: Talk) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, pytest.raises(TimeoutError):
        EventStream(f"http://127.0.0.1:{listener.getsockname()[1]}/", {}, deadline_s=0.05)
