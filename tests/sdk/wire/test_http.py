"""The blocking HTTP client against a server that says whatever a test wants, and against none at all."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from tests.sdk.talker import CLOSE, HANG, headers_of, reply, stream, talking
from tests.support.wait import wait_until
from towerlog.sdk.wire import address
from towerlog.sdk.wire.connection import Connection, Host
from towerlog.sdk.wire.errors import BadAnswer, Unreachable
from towerlog.sdk.wire.http import Http

KEY = "tl_live_secret"


def test_a_request_brings_its_reply_and_keeps_its_connection() -> None:
    with talking(reply(200, b"one"), reply(418, b"two", {"X-Trace-Id": "t"})) as talker:
        http = Http(talker.url, KEY)
        first = http.request("GET", "/a?b=c", headers={"X-Own": "1"})
        second = http.request("POST", "/d", b"body")
        assert (first.status, first.body, second.status, second.body) == (200, b"one", 418, b"two")
        assert second.headers["x-trace-id"] == "t"
        assert talker.connections == 1
        [(head, _), (_, body)] = talker.requests
        assert head.startswith("GET /a?b=c HTTP/1.1\r\n")
        assert headers_of(head)["authorization"] == f"Bearer {KEY}"
        assert headers_of(head)["x-own"] == "1"
        assert body == b"body"
        http.close()


def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    with talking(reply() + CLOSE, reply()) as talker:
        http = Http(talker.url)
        http.request("POST", "/", b"1")
        wait_until(lambda: not http._idle[-1].is_quiet, "the end of the first connection")
        assert http.request("POST", "/", b"2").status == 200
        assert [body for _, body in talker.requests] == [b"1", b"2"]
        http.close()


def test_what_changes_something_is_never_sent_twice_unasked() -> None:
    with talking(reply(), None, reply()) as talker:
        http = Http(talker.url)
        http.request("GET", "/")
        with pytest.raises(Unreachable):
            http.request("POST", "/", b"once")
        assert [body for _, body in talker.requests].count(b"once") == 1
        http.close()


def test_reading_is_tried_again_on_a_connection_that_turned_out_closed() -> None:
    with talking(reply(), None, reply(200, b"again")) as talker:
        http = Http(talker.url)
        http.request("GET", "/")
        assert http.request("GET", "/").body == b"again"
        assert talker.connections == 2
        http.close()


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n" + CLOSE,
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort" + CLOSE,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab" + CLOSE,
        None,
    ],
    ids=["no HTTP", "cut", "cut chunk", "nothing"],
)
def test_half_an_answer_is_none(said) -> None:
    with talking(said) as talker, pytest.raises(Unreachable):
        Http(talker.url).request("GET", "/")


def test_a_redirect_is_refused_and_the_key_goes_nowhere_else() -> None:
    with talking(reply()) as other, talking(reply(302, b"", {"Location": f"{other.url}/"})) as talker:
        http = Http(talker.url, KEY)
        with pytest.raises(BadAnswer, match="redirect"):
            http.request("GET", "/")
        http.close()
        assert other.connections == 0


def test_a_reply_past_the_cap_is_refused() -> None:
    with talking(reply(200, b"x" * 100), reply(200, b"x" * 101)) as talker:
        http = Http(talker.url)
        assert len(http.request("GET", "/", bytes_max=100).body) == 100
        with pytest.raises(BadAnswer, match="larger"):
            http.request("GET", "/", bytes_max=100)
        http.close()


def test_a_server_that_says_nothing_is_given_up() -> None:
    with talking(HANG) as talker, pytest.raises(Unreachable, match="too long"):
        Http(talker.url).request("GET", "/", timeout_s=0.1)


def test_nobody_there_is_unreachable_and_names_the_server_but_no_key(held_port) -> None:
    url = held_port.url
    with pytest.raises(Unreachable, match="refused") as caught:
        Http(url, KEY).request("GET", "/")
    assert url in str(caught.value)
    assert KEY not in repr(caught.value) + repr(Http(url, KEY))
    assert caught.value.__cause__ is None


def test_an_early_refusal_of_a_large_body_is_read() -> None:
    with talking(b"") as talker:
        # Answers after the head alone, as a server that finds a body too large does.
        talker._with_body = lambda connection, head, waiting: b""  # type: ignore[method-assign]
        talker.replies[0] = reply(413, b"large") + CLOSE
        http = Http(talker.url)
        got = http.request("POST", "/", b"x" * 50)
        assert (got.status, got.body) == (413, b"large")
        http.close()


def test_a_stream_gives_lines_until_its_end() -> None:
    said = stream(b"data: a\r\n\nda", b"ta: b\n", b"\n")
    with talking(said) as talker, Http(talker.url).stream("GET", "/") as lines:
        assert lines.status == 200
        assert list(lines) == [b"data: a", b"", b"data: b", b""]


def test_a_stream_that_breaks_off_says_so() -> None:
    with talking(stream(b"data: a\n\n", whole=False)) as talker:
        lines = iter(Http(talker.url).stream("GET", "/"))
        assert [next(lines), next(lines)] == [b"data: a", b""]
        with pytest.raises(Unreachable):
            next(lines)


def test_a_stream_that_is_silent_for_too_long_has_broken() -> None:
    with talking(stream(b"data: a\n", whole=False).removesuffix(CLOSE) + HANG) as talker:
        lines = iter(Http(talker.url).stream("GET", "/", silence_s=0.1))
        assert next(lines) == b"data: a"
        with pytest.raises(Unreachable, match="too long"):
            next(lines)


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
def test_a_stream_ends_for_its_reader_when_another_thread_closes_it(connection) -> None:
    said = stream(b"data: a\n", headers={"Connection": connection}, whole=False).removesuffix(CLOSE) + HANG
    with talking(said) as talker:
        found = Http(talker.url).stream("GET", "/")
        got: list[bytes] = []
        ended = threading.Event()

        def read() -> None:
            for line in found:
                got.append(line)  # noqa: PERF402 - one by one, as they come
            ended.set()

        reader = threading.Thread(target=read)
        reader.start()
        wait_until(lambda: got, "the first line")
        found.close()
        assert ended.wait(60), "the reader is still there"
        reader.join()
        assert got == [b"data: a"]


def test_close_ends_a_request_under_way() -> None:
    with talking(HANG) as talker:
        http = Http(talker.url)
        failed: list[Exception] = []

        def ask() -> None:
            try:
                http.request("GET", "/")
            except Unreachable as error:
                failed.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        wait_until(lambda: talker.requests, "the request")
        http.close()
        asking.join(60)
        assert len(failed) == 1


def test_a_fork_begins_with_connections_of_its_own() -> None:
    with talking(reply(), reply(200, b"child"), reply(200, b"parent")) as talker:
        http = Http(talker.url)
        http.request("GET", "/")
        child = os.fork()
        if not child:
            # Whatever happens, this copy of the test's process must not go on.
            os._exit(0 if http.request("GET", "/").body == b"child" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert talker.connections == 2
        assert http.request("GET", "/").body == b"parent"
        assert talker.connections == 2
        http.close()


def test_no_more_connections_are_kept_than_the_bound() -> None:
    count = address.MAX_IDLE + 3
    with talking(*[reply()] * count * 2) as talker:
        http = Http(talker.url)
        together = threading.Barrier(count)

        def ask() -> None:
            together.wait(60)
            assert http.request("GET", "/").status == 200

        threads = [threading.Thread(target=ask) for _ in range(count)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert len(http._idle) <= address.MAX_IDLE
        assert not http._busy
        http.close()


@pytest.mark.parametrize("verb", ["request", "stream"])
def test_a_connection_that_is_closed_while_it_is_made_is_not_used(monkeypatch, verb) -> None:
    connect = Host.open

    def late(*args: Any) -> Connection:
        http.close()
        return connect(*args)

    monkeypatch.setattr(Host, "open", late)
    with talking(HANG) as talker:
        http = Http(talker.url)
        with pytest.raises(Unreachable, match="closed by its user"):
            getattr(http, verb)("GET", "/")
        assert talker.requests == []


def test_a_kept_connection_that_is_closed_before_its_request_does_not_open_itself(monkeypatch) -> None:
    def quiet(connection: Connection) -> bool:
        http.close()
        return True

    with talking(reply(), HANG) as talker:
        http = Http(talker.url)
        http.request("GET", "/")
        monkeypatch.setattr(Connection, "is_quiet", property(quiet))
        with pytest.raises(Unreachable, match="closed by its user"):
            http.request("GET", "/")
        assert talker.connections == 1


def test_closing_ends_a_stream_whose_server_closes_after_it() -> None:
    said = stream(b"data: a\n", headers={"Connection": "close"}, whole=False).removesuffix(CLOSE) + HANG
    with talking(said) as talker:
        http = Http(talker.url)
        lines = iter(http.stream("GET", "/"))
        assert next(lines) == b"data: a"
        http.close()
        with pytest.raises(Unreachable):
            next(lines)
