"""The SDK among strangers: servers that send too much, too slowly or nonsense, and files that somebody has changed.

Each server is real and hostile; both halves of the client are tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import socket
import stat
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.support.ingest_server import KEY, Ingest
from tests.sdk.talker import CLOSE, HANG, frame, reply, stream, talking
from tests.support.samples import pairs
from tests.support.tables import table
from tests.support.wait import wait_until
from towerlog.sdk.api.async_client import AsyncClient
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.requests import next_link
from towerlog.sdk.record.backlog.destination import Destination
from towerlog.sdk.record.backlog.own_files import private_folder
from towerlog.sdk.record.backlog.spool import SET_ASIDE, Spool
from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.wire.address import MAX_LINE_BYTES, read_retry_after
from towerlog.sdk.wire.async_http import AsyncHttp
from towerlog.sdk.wire.errors import ApiError, BadAnswer, SdkError, Unreachable
from towerlog.sdk.wire.http import Http
from towerlog.sdk.wire.retries import Retries
from towerlog.sdk.work.lane_api import Holder, LaneApi

DEEP = b"[" * 200_000
ONCE = Retries(attempts=1)
RUN_ID = "0196b2c4-5d1e-7c3a-9f10-2b7d4e8a1c55"


class Flood:
    """A server that answers each request with a head, and then with one piece again and again until it is cut off."""

    def __init__(self, head: bytes, piece: bytes, pause_s: float = 0.0) -> None:
        self.sent = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._head, self._piece, self._pause_s = head, piece, pause_s
        self._over = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(self._head)
                while not self._over.wait(self._pause_s):
                    connection.sendall(self._piece)
                    self.sent += len(self._piece)

    def close(self) -> None:
        """Ends it."""
        self._over.set()
        # Wakes `accept`, which a close of its socket by another thread does not.
        with contextlib.suppress(OSError):
            socket.create_connection(self._listener.getsockname(), 1).close()
        self._listener.close()
        self._thread.join(60)


@contextlib.contextmanager
def flooding(head: bytes, piece: bytes, pause_s: float = 0.0) -> Iterator[Flood]:
    flood = Flood(head, piece, pause_s)
    try:
        yield flood
    finally:
        flood.close()


def by_asyncio(url: str, act: Callable[[AsyncHttp], Awaitable[Any]], timeout_s: float = 60.0) -> Any:
    """What comes of a client of its own."""

    async def acted() -> Any:
        http = AsyncHttp(url, KEY, timeout_s)
        try:
            return await act(http)
        finally:
            await http.close()

    return asyncio.run(acted())


def request(half: str, url: str, timeout_s: float = 60.0, body: bytes | None = None) -> Any:
    """One request of either half."""
    method = "GET" if body is None else "POST"
    if half == "asyncio":
        return by_asyncio(url, lambda http: http.request(method, "/", body, timeout_s=timeout_s))
    http = Http(url, KEY)
    try:
        return http.request(method, "/", body, timeout_s=timeout_s)
    finally:
        http.close()


def refusal_of_stream(half: str, url: str, timeout_s: float) -> bytes:
    """The body of what is no stream."""

    async def read(http: AsyncHttp) -> bytes:
        async with await http.stream("GET", "/") as opened:
            return await opened.read()

    if half == "asyncio":
        return bytes(by_asyncio(url, read, timeout_s))
    with Http(url, KEY, timeout_s).stream("GET", "/") as opened:
        return opened.read()


def lane(url: str, act: Callable[[LaneApi], Awaitable[Any]]) -> Any:
    """What comes of a request of a worker."""
    return by_asyncio(url, lambda http: act(LaneApi(http, "w", 60)))


def ask(half: str, url: str, timeout_s: float = 60.0, retries: Retries = ONCE) -> Any:
    """A run by its id, by the client of either half."""
    if half == "blocking":
        with Client(url, KEY, timeout_s, retries) as client:
            return client.get_run(RUN_ID)

    async def asked() -> Any:
        async with AsyncClient(url, KEY, timeout_s, retries) as client:
            return await client.get_run(RUN_ID)

    return asyncio.run(asked())


def follow(half: str, url: str) -> list[Any]:
    """All events of a run, by the client of either half."""
    if half == "blocking":
        with Client(url, KEY, 10.0, ONCE) as client:
            return list(client.follow(RUN_ID, patience_s=0))

    async def followed() -> list[Any]:
        async with AsyncClient(url, KEY, 10.0, ONCE) as client:
            return [event async for event in client.follow(RUN_ID, patience_s=0)]

    return asyncio.run(followed())


HALVES = pytest.mark.parametrize("half", ["blocking", "asyncio"])
OK = b"HTTP/1.1 200 OK\r\n"
EVENTS = OK + b"Content-Type: text/event-stream\r\n\r\n"
ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "head": (OK, b"X-More: " + b"x" * 1000 + b"\r\n"),
    "body": (OK + b"\r\n", b"x" * 65536),
    "chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"8000\r\n" + b"x" * 0x8000 + b"\r\n"),
    "chunk extension": (OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 65536),
    "trailers": (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"x: " + b"y" * 1000 + b"\r\n"),
    "refusal": (b"HTTP/1.1 500 X\r\n\r\n", b"x" * 65536),
}


@HALVES
@pytest.mark.parametrize("what", ENDLESS)
def test_a_reply_without_end_is_given_up(half: str, what: str) -> None:
    with flooding(*ENDLESS[what]) as flood:
        with pytest.raises(BadAnswer):
            request(half, flood.url)
        assert flood.sent < 2 * MAX_LINE_BYTES


FRAMES = {"line": b"data: " + b"x" * 65536, "frame": b"data: " + b"x" * 8000 + b"\n", "lines": b"data\n" * 8000}


@pytest.mark.parametrize(("half", "piece"), pairs(["blocking", "asyncio"], FRAMES))
def test_a_frame_without_end_is_given_up(half: str, piece: str) -> None:
    with flooding(EVENTS, FRAMES[piece]) as flood:
        with pytest.raises(BadAnswer):
            follow(half, flood.url)
        assert flood.sent < 3 * MAX_LINE_BYTES


@HALVES
def test_a_reply_that_comes_drop_by_drop_ends_in_time(half: str) -> None:
    with flooding(OK + b"\r\n", b"x", pause_s=0.02) as flood:
        began = time.monotonic()
        with pytest.raises(Unreachable, match="too long"):
            request(half, flood.url, timeout_s=0.5)
        assert time.monotonic() - began >= 0.4
        assert 0 < flood.sent < 100


@HALVES
def test_the_refusal_of_a_stream_that_comes_drop_by_drop_ends_in_time(half: str) -> None:
    """The time of a stream is for silence, which this one never keeps."""
    with flooding(b"HTTP/1.1 500 X\r\n\r\n", b"x", pause_s=0.02) as flood:
        with pytest.raises(Unreachable, match="too long"):
            refusal_of_stream(half, flood.url, 0.5)
        assert flood.sent < 100


@HALVES
def test_a_server_that_reads_nothing_ends_in_time(half: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url, body = f"http://127.0.0.1:{deaf.getsockname()[1]}", b"x" * 50_000_000
        with pytest.raises(Unreachable, match="too long"):
            request(half, url, 0.3, body)


@HALVES
def test_a_call_ends_in_its_time_with_all_its_retries(half: str) -> None:
    busy = Retries(attempts=1000, first_s=0.01, longest_s=0.01)
    with talking(*[reply(503)] * 1000) as talker:
        # The time may end in the middle of an attempt, or between two.
        with pytest.raises((ApiError, Unreachable)):
            ask(half, talker.url, 1, busy)
        assert 1 < len(talker.requests) < 1000
    patient = Retries(attempts=1000, longest_told_s=60)
    with talking(*[reply(503, b"{}", {"Retry-After": "30"})] * 2) as talker:
        pause_ends_at = time.monotonic() + 30
        with pytest.raises(ApiError):
            ask(half, talker.url, 20, patient)
        assert time.monotonic() < pause_ends_at, "a pause that ends after the call's time is not begun"
    with talking(*[reply(503), HANG] * 100) as talker:
        with pytest.raises(Unreachable, match="too long"):
            ask(half, talker.url, 1, busy)
        assert len(talker.requests) == 2, "the second has what is left of the time"


NONSENSE: dict[str, bytes] = {
    "deep": reply(200, DEEP),
    "deep in an object": reply(200, b'{"run_id":' + DEEP),
    "deep refusal": reply(400, DEEP),
    "refusal of another type": reply(
        400, b'{"error": {"code": [1], "message": {"a": 1}, "details": [2]}, "trace_id": {}}'
    ),
    "a number": reply(200, b"7"),
    "half a character": reply(200, b'{"run_id": "\xff"}'),
    "a long number": reply(200, b'{"run_id": ' + b"9" * 10_000 + b"}"),
    "other types": reply(
        200, json.dumps({name: [1] for name in ("run_id", "status", "thread_id", "usage", "lease")}).encode()
    ),
    "a strange pause": reply(503, b"{}", {"Retry-After": "Mon, 1 Jan 99999999999999 00:00:00 GMT"}),
    "no status": b"HTTP/1.1 x\r\n\r\n" + CLOSE,
}


@HALVES
@table("what", NONSENSE)
def test_what_leaves_the_sdk_is_an_error_of_its_own(half: str, what: str) -> None:
    with talking(NONSENSE[what]) as talker, pytest.raises(SdkError):
        ask(half, talker.url)


@HALVES
@table(
    "data",
    [
        DEEP,
        b'{"seq": "one", "type": "step", "data": {}, "created_at": "x"}',
        b'{"seq": null, "type": "step", "data": {}, "created_at": "x"}',
        b'{"seq": {}, "type": 1}',
        b'{"seq": [], "type": "step", "data": 1}',
        b"[]",
        b"\xff\xfe",
    ],
)
def test_a_frame_that_cannot_be_read_is_an_error_of_its_own(half: str, data: bytes) -> None:
    with talking(stream(frame(1), b"id: 2\ndata: " + data + b"\n\n")) as talker, pytest.raises(SdkError):
        follow(half, talker.url)


def follow_twice(half: str, url: str, agent: bool) -> list[Any]:
    """What a follower gets over two connections: the second one says where the first one was."""
    if half == "blocking":
        with Client(url, KEY, 10.0, ONCE) as client:
            return list(islice(client.follow_agent("a") if agent else client.follow(RUN_ID), 2))

    async def followed() -> list[Any]:
        async with AsyncClient(url, KEY, 10.0, ONCE) as client:
            events = client.follow_agent("a") if agent else client.follow(RUN_ID)
            return [event async for event in events]

    return asyncio.run(followed())


PLACES = {"a control character": "\x01", "no ascii": "\xe9", "very much": "x" * 60_000}


@HALVES
@table("what", PLACES)
def test_a_place_in_a_stream_that_cannot_be_said_again_is_an_error_of_its_own(half: str, what: str) -> None:
    place = PLACES[what]
    with talking(stream(frame(1), headers={"X-Log-Epoch": place}), stream(frame(2))) as talker:
        with pytest.raises(SdkError):
            follow_twice(half, talker.url, agent=False)
        assert len(talker.requests) == 1
    told = b'id: %b\ndata: {"id": "e", "timestamp": "x", "type": "step"}\n\n' % place.encode()
    with talking(stream(told, whole=False), stream(told, whole=False)) as talker:
        with pytest.raises(SdkError):
            follow_twice(half, talker.url, agent=True)
        assert len(talker.requests) == 1


def listed(half: str, url: str) -> list[Any]:
    """All runs, by the client of either half."""
    if half == "blocking":
        with Client(url, KEY, 10.0, ONCE) as client:
            return list(client.list_runs())

    async def asked() -> list[Any]:
        async with AsyncClient(url, KEY, 10.0, ONCE) as client:
            return [run async for run in client.list_runs()]

    return asyncio.run(asked())


@HALVES
def test_the_next_page_is_asked_for_by_what_the_server_named(half: str) -> None:
    page = b'{"data": [], "next": %b}'
    with talking(reply(200, page % b'"\\ud800"'), reply(200, page % b"null")) as talker:
        assert listed(half, talker.url) == []
        assert len(talker.requests) == 2
    for strange in (b"7", b"{}", b"[1]", b"true"):
        with talking(reply(200, page % strange)) as talker, pytest.raises(BadAnswer):
            listed(half, talker.url)
    with talking(*[reply(200, page % b'"again"')] * 100) as talker:
        with pytest.raises(BadAnswer):
            listed(half, talker.url)
        assert len(talker.requests) == 2, "a list whose next page is the same page has no end"


@HALVES
def test_a_run_is_looked_for_in_the_time_of_one_call(half: str) -> None:
    """A key may be a part of very many others."""
    pages = [reply(200, b'{"data": [], "next": "%d"}' % number) for number in range(900)]
    with talking(reply(404), *pages) as talker:
        talker.pause_s = 0.01
        with pytest.raises(Unreachable, match="too long"):
            ask(half, talker.url, 0.5)


LENGTHS: dict[str, bytes] = {
    "a negative length": OK + b"Content-Length: -7\r\n\r\n" + CLOSE,
    "an endless length": OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n" + CLOSE,
    "a chunk with a prefix": OK + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n" + CLOSE,
    "a chunk with a sign": OK + b"Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n" + CLOSE,
}


@HALVES
@table("what", LENGTHS)
def test_a_length_is_digits_and_nothing_else(half: str, what: str) -> None:
    with talking(LENGTHS[what]) as talker, pytest.raises(Unreachable, match="not HTTP"):
        request(half, talker.url)


@HALVES
def test_a_host_that_no_resolver_takes_is_unreachable(half: str) -> None:
    with pytest.raises(Unreachable):
        request(half, f"http://{'x' * 300}.invalid")


class SilentResolver:
    """Answers no look-up of a name until it is let go. Looks up what is an address, as the system does."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.asked: list[str] = []
        self._known = socket.getaddrinfo

    def __call__(self, host: str, *arguments: Any, flags: int = 0, **named: Any) -> Any:
        if not flags & socket.AI_NUMERICHOST:
            self.asked.append(host)
            assert self.over.wait(60)
            host = "127.0.0.1"
        return self._known(host, *arguments, flags=flags, **named)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentResolver]:
    made = SilentResolver()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    yield made
    made.over.set()


def test_a_resolver_that_does_not_answer_ends_in_time(resolver: SilentResolver) -> None:
    """The blocking client; asyncio looks names up in a thread of its own."""
    with pytest.raises(Unreachable, match="too long"):
        request("blocking", "http://towerlog.invalid", timeout_s=0.3)
    wait_until(lambda: resolver.asked, "the look-up in its thread")
    assert not resolver.over.is_set()


def test_a_client_has_one_thread_with_a_resolver_however_often_it_tries(resolver: SilentResolver) -> None:
    def waiting() -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one.name == "towerlog-resolver"]

    with talking(*[reply()] * 2) as talker:
        wait_until(lambda: not waiting(), "the end of those before")
        client = Http(talker.url.replace("127.0.0.1", "towerlog.invalid"), timeout_s=0.05)
        for _ in range(5):
            with pytest.raises(Unreachable, match="too long"):
                client.request("GET", "/")
        wait_until(lambda: resolver.asked, "the look-up in its thread")
        assert len(waiting()) == len(resolver.asked) == 1
        resolver.over.set()
        wait_until(lambda: not waiting(), "its end")
        assert client.request("GET", "/", timeout_s=30).status == 200
        assert len(resolver.asked) == 2, "what was looked up is not kept"
        client.close()


def test_a_program_may_wait_for_ever() -> None:
    with talking(reply(200, b"{}")) as talker:
        assert request("blocking", talker.url, timeout_s=math.inf).status == 200


def test_a_pause_that_no_calendar_has_is_none() -> None:
    for text in ("Mon, 1 Jan 99999999999999 00:00:00 GMT", "x" * 100_000, "1 1 1 1 1 1", ",;:", "\x00"):
        assert read_retry_after(text) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('</v1/runs?before=x&limit=2>; rel="next"', "/v1/runs?before=x&limit=2"),
        ('</a?q=1,2>; rel="prev", </b>; title="t" ; rel=next', "/b"),
        ("</a>;rel=next", "/a"),
        ("</a>; rel=prev", None),
        ("nothing", None),
        ("<unfinished; rel=next", None),
    ],
)
def test_the_next_page_is_found(text: str, found: str | None) -> None:
    assert next_link(text) == found


def test_a_link_header_is_read_in_one_pass() -> None:
    """Four times the text must not take sixteen times as long; each way in which a pattern would go back is tried."""

    def took(text: str) -> float:
        began = time.process_time()
        assert next_link(text) is None
        return time.process_time() - began

    for piece in ("<", "<a>;", "<a>; ;", "<>;rel=,", " ; "):
        small = max(min(took(piece * 20_000) for _ in range(3)), 0.001)
        assert min(took(piece * 80_000) for _ in range(3)) < 9 * small, piece


# Threads that must not end


HOLDER = Holder("r", "w", 1, "c")
REPORTS: dict[str, bytes] = {
    "deep": DEEP,
    "no object": b"[]",
    "results": b'{"results": {"a": 1}}',
    "a result": b'{"results": [7]}',
    "commands": b'{"commands": 7}',
    "a command": b'{"commands": [{"command_id": [1], "type": "input"}]}',
    "no id": b'{"commands": [{"type": "input"}]}',
}


@pytest.mark.parametrize("what", REPORTS)
def test_a_report_is_answered_or_it_is_not(what: str) -> None:
    with talking(reply(200, REPORTS[what])) as talker, pytest.raises(BadAnswer):
        lane(talker.url, lambda api: api.report(HOLDER, [], 0, 10.0))


RUN = {"id": "r", "lease_epoch": 1}
CLAIMS: dict[str, Any] = {
    "no run": {},
    "a run of text": {"run": "r"},
    "no epoch": {"run": {"id": "r"}},
    "a number for a thread": {"run": {**RUN, "thread_id": 7}},
    "a list for a persona": {"run": RUN, "persona": [1]},
    "text for a history": {"run": RUN, "thread_history": "x"},
    "an empty id": {"run": {"id": "", "lease_epoch": 1}},
    "a list for an agent": {"run": RUN, "persona": {"agent": [1]}},
}


@pytest.mark.parametrize("what", CLAIMS)
def test_a_claim_has_what_a_worker_needs(what: str) -> None:
    with talking(reply(200, json.dumps(CLAIMS[what]).encode())) as talker, pytest.raises(BadAnswer):
        lane(talker.url, lambda api: api.claim(["a"], {}, 0))


@pytest.mark.parametrize(
    "said",
    [
        b'{"data": 7}',
        b'{"data": [{"worker_id": "w", "runs": [7]}]}',
        b'{"data": ["w"]}',
        b'{"data": [{"worker_id": "w", "runs": [""]}]}',
    ],
)
def test_the_list_of_held_runs_is_one(said: bytes) -> None:
    with talking(reply(200, said)) as talker, pytest.raises(BadAnswer):
        lane(talker.url, lambda api: api.held())


def test_the_id_of_a_run_is_any_text() -> None:
    with talking(*[reply(200, json.dumps({"run": {**RUN, "id": "a\n/b?"}}).encode())] * 3) as talker:
        lane(talker.url, lambda api: api.claim_again("a\n/b?"))
        lane(talker.url, lambda api: api.report(Holder("\ud800/..", "w", 1, "c"), [], 0, 10.0))
        lane(talker.url, lambda api: api.release(Holder("a b", "w", 1, "c")))
        paths = [head.split(" ")[1] for head, _ in talker.requests]
    assert paths == [
        "/api/agents/runs/a%0A%2Fb%3F/claim",
        "/api/v1/runs/%3F%2F..:report",
        "/api/agents/runs/a%20b/release",
    ]


def test_a_refusal_is_told_on_one_line_that_controls_nothing() -> None:
    said = {"error": {"message": "a\x1b[2J\nb\u202ec\ud800", "code": "X\x07", "details": {"f\r": "\x9b"}}}
    bodies = (json.dumps(said).encode(), b"<html>\x1b[2J\n" + b"x" * 100_000)
    for body in bodies:
        with talking(reply(400, body)) as talker, pytest.raises(ApiError) as caught:
            lane(talker.url, lambda api: api.release(HOLDER))
        error = caught.value
        assert all(text.isprintable() for text in (str(error), error.code, *error.details, *error.details.values()))
        assert len(str(error)) < 3000


def alive() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("towerlog-")}


def test_a_recorder_goes_on_whatever_it_is_answered(tmp_path: Path) -> None:
    """Everything that it was told while the server said nonsense is there afterwards; no thread has ended."""
    results = b'{"results": [{"status": {}, "code": [], "run_id": 7}], "commands": [{"run_key": [], "type": 7}, 7]}'
    nonsense = [DEEP, b"[]", b'{"results": 7}', b'{"results": [7]}', b'{"results": [], "commands": {}}']
    said = [*(reply(200, one) for one in nonsense), reply(500, DEEP), reply(200, results)]
    with talking(*said * 40) as talker:

        def both_have_heard_enough() -> bool:
            waits = [bool(json.loads(body).get("wait_seconds")) for _, body in list(talker.requests)]
            return min(waits.count(True), waits.count(False)) > 2 * len(said)

        recorder = Recorder(talker.url, KEY, spool_dir=tmp_path / "spool", longest_pause_seconds=0.01)
        with recorder.record_run(run_key="r") as run:
            run.step("one")

            def ask_somebody() -> None:
                # As long as it asks there is a listener, however long the requests take.
                with pytest.raises(RunCancelled):
                    run.ask("who?")

            asking = threading.Thread(target=ask_somebody, daemon=True)
            asking.start()
            wait_until(both_have_heard_enough, "sender and listener to go on")
            assert {"towerlog-sender", "towerlog-listener"} <= alive()
            run.deliver({"command_id": 1, "type": "cancel"})
            asking.join(30)
            assert not asking.is_alive()
        recorder.close(0.1)


# Files that somebody has changed


def spooled(folder: Path, url: str, *lines: bytes) -> Path:
    """The spool of a program that has ended, with these lines; the folder of its destination."""
    home = Destination.of(url, KEY).folder(folder)
    client = home / "0196b2c4-5d1e-7c3a-9f10-000000000001"
    private_folder(client)
    (client / "00000001.ndjson").write_bytes(b"".join(line + b"\n" for line in lines))
    return home


def event(number: int) -> bytes:
    members = {"event_id": f"e{number}", "client_seq": number, "run_key": "r", "type": "step", "data": {"name": "s"}}
    return json.dumps(members).encode()


DAMAGED: dict[str, bytes] = {
    "no JSON": b"nonsense",
    "cut": b'{"event_id": "e2", "clie',
    "deep": b'{"a":' + DEEP,
    "no object": b"[1]",
    "empty": b"",
    "more than one": b'{"a":1}],"client_id":"other","events":[{"b":2}',
    "bytes": b"\xff\x00\xfe",
    "too long": b'{"a":"' + b"x" * (17 * 1024 * 1024) + b'"}',
}


@pytest.fixture
def ingest() -> Iterator[Ingest]:
    server = Ingest()
    yield server
    server.close()


@pytest.mark.parametrize("what", DAMAGED)
def test_a_spool_line_that_cannot_be_sent_is_set_aside_and_the_rest_goes_on(
    tmp_path: Path, ingest: Ingest, what: str
) -> None:
    home = spooled(tmp_path, ingest.url, event(1), DAMAGED[what], event(3), event(4))
    recorder = Recorder(ingest.url, KEY, spool_dir=tmp_path)
    assert recorder.drain(30)
    assert sorted(one["event_id"] for one in ingest.of("r")) == ["e1", "e3", "e4"]
    aside = home / SET_ASIDE
    assert aside.read_bytes()[:100] == (DAMAGED[what] + b"\n")[:100]
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    recorder.close()


def test_a_line_that_the_server_refuses_alone_does_not_keep_the_rest(tmp_path: Path, ingest: Ingest) -> None:
    spooled(tmp_path, ingest.url, event(1), b'{"event_id": "e2", "client_seq": 1e999, "run_key": "r"}', event(3))
    ingest.poison = lambda one: one["event_id"] == "e2"
    recorder = Recorder(ingest.url, KEY, spool_dir=tmp_path)
    assert recorder.drain(30)
    assert sorted(one["event_id"] for one in ingest.of("r")) == ["e1", "e3"]
    recorder.close()


def test_what_is_no_file_among_the_files_is_left_alone(tmp_path: Path, ingest: Ingest) -> None:
    home = spooled(tmp_path, ingest.url, event(1))
    [client] = [path for path in home.iterdir() if path.is_dir()]
    (client / "00000000.ndjson").mkdir()
    os.mkfifo(client / "00000002.ndjson")
    recorder = Recorder(ingest.url, KEY, spool_dir=tmp_path)
    assert recorder.drain(30)
    assert [one["event_id"] for one in ingest.of("r")] == ["e1"]
    recorder.close()


def test_a_spool_and_all_that_is_made_above_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "state" / "towerlog" / "spool" / "destination"
    old = os.umask(0)
    try:
        spool = Spool(home, "client", 1_000_000, "oldest", lambda *_: None)
        spool.append([event(1)], None)
        private_folder(home)
        spool.close()
    finally:
        os.umask(old)
    made = [home / "client", home, *list(home.parents)[:3]]
    assert [stat.S_IMODE(path.stat().st_mode) for path in made] == [0o700] * 5
