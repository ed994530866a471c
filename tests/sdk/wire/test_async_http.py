"""The asyncio HTTP client against a server that says whatever a test wants, and against none at all."""

from __future__ import annotations

import asyncio

import pytest

from tests.sdk.talker import CLOSE, HANG, headers_of, reply, stream, talking
from tests.support.wait import wait_until_async
from towerlog.sdk.wire.address import MAX_IDLE
from towerlog.sdk.wire.async_http import AsyncHttp
from towerlog.sdk.wire.errors import BadAnswer, Unreachable

KEY = "tl_live_secret"


async def test_a_request_brings_its_reply_and_keeps_its_connection() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\ntwo\r\n0\r\nTrailer: t\r\n\r\n"
    early = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + reply(418, b"three", {"X-Trace-Id": "t"})
    with talking(reply(200, b"one"), chunked, early, reply(204, b"", {"Content-Length": "9"}), reply()) as talker:
        http = AsyncHttp(talker.url, KEY)
        got = [await http.request("GET", "/a?b=c", headers={"X-Own": "1"}), await http.request("GET", "/")]
        got += [await http.request("POST", "/", b"body"), await http.request("POST", "/")]
        got.append(await http.request("GET", "/"))
        expected = [(200, b"one"), (200, b"two"), (418, b"three"), (204, b""), (200, b"{}")]
        assert [(one.status, one.body) for one in got] == expected
        assert got[2].headers["x-trace-id"] == "t"
        assert talker.connections == 1
        head, _ = talker.requests[0]
        assert head.startswith("GET /a?b=c HTTP/1.1\r\n")
        assert headers_of(head)["authorization"] == f"Bearer {KEY}"
        assert talker.requests[2][1] == b"body"
        assert headers_of(talker.requests[3][0])["content-length"] == "0"
        await http.close()


async def test_what_changes_something_is_never_sent_twice_unasked() -> None:
    with talking(reply(), None, reply()) as talker:
        http = AsyncHttp(talker.url)
        await http.request("GET", "/")
        with pytest.raises(Unreachable):
            await http.request("POST", "/", b"once")
        assert [body for _, body in talker.requests].count(b"once") == 1
        await http.close()


async def test_reading_is_tried_again_on_a_connection_that_turned_out_closed() -> None:
    with talking(reply(), None, reply(200, b"again")) as talker:
        http = AsyncHttp(talker.url)
        await http.request("GET", "/")
        assert (await http.request("GET", "/")).body == b"again"
        assert talker.connections == 2
        await http.close()


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n" + CLOSE,
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort" + CLOSE,
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n" + CLOSE,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab" + CLOSE,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + CLOSE,
        None,
    ],
    ids=["no HTTP", "cut", "no length", "cut chunk", "endless head", "nothing"],
)
async def test_half_an_answer_is_none(said) -> None:
    with talking(said) as talker, pytest.raises(Unreachable):
        await AsyncHttp(talker.url).request("GET", "/")


async def test_a_reply_to_the_end_of_its_connection_is_whole() -> None:
    with talking(b"HTTP/1.0 200 OK\r\n\r\nall of it" + CLOSE) as talker:
        assert (await AsyncHttp(talker.url).request("GET", "/")).body == b"all of it"


async def test_a_redirect_is_refused() -> None:
    with talking(reply(307, b"", {"Location": "http://elsewhere/"})) as talker:
        http = AsyncHttp(talker.url, KEY)
        with pytest.raises(BadAnswer, match="redirect"):
            await http.request("GET", "/")
        await http.close()


async def test_a_reply_past_the_cap_is_refused() -> None:
    with talking(reply(200, b"x" * 100), reply(200, b"x" * 101)) as talker:
        http = AsyncHttp(talker.url)
        assert len((await http.request("GET", "/", bytes_max=100)).body) == 100
        with pytest.raises(BadAnswer, match="larger"):
            await http.request("GET", "/", bytes_max=100)


async def test_a_server_that_says_nothing_is_given_up() -> None:
    with talking(HANG) as talker, pytest.raises(Unreachable, match="too long"):
        await AsyncHttp(talker.url).request("GET", "/", timeout_s=0.1)


async def test_nobody_there_is_unreachable_and_names_the_server_but_no_key(held_port) -> None:
    url = held_port.url
    with pytest.raises(Unreachable) as caught:
        await AsyncHttp(url, KEY).request("GET", "/")
    assert url in str(caught.value)
    assert KEY not in repr(caught.value) + repr(AsyncHttp(url, KEY))


async def test_a_request_that_is_cancelled_leaves_no_half_read_connection_behind() -> None:
    late = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nla" + HANG
    with talking(late, reply(200, b"clean")) as talker:
        http = AsyncHttp(talker.url)
        asking = asyncio.create_task(http.request("GET", "/"))
        await wait_until_async(lambda: talker.requests, "the request")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await http.request("GET", "/")).body == b"clean"
        assert talker.connections == 2
        await http.close()


async def test_no_more_connections_are_kept_than_the_bound() -> None:
    count = MAX_IDLE + 3
    with talking(*[reply()] * count) as talker:
        http = AsyncHttp(talker.url)
        await asyncio.gather(*(http.request("GET", "/") for _ in range(count)))
        assert len(http._idle) <= MAX_IDLE
        await http.close()
        assert not http._idle


async def test_a_stream_gives_lines_until_its_end() -> None:
    with talking(stream(b"data: a\r\n\nda", b"ta: b\n", b"\n")) as talker:
        async with await AsyncHttp(talker.url).stream("GET", "/") as lines:
            assert [line async for line in lines] == [b"data: a", b"", b"data: b", b""]


async def test_a_stream_that_breaks_off_says_so() -> None:
    with talking(stream(b"data: a\n\n", whole=False)) as talker:
        lines = aiter(await AsyncHttp(talker.url).stream("GET", "/"))
        assert [await anext(lines), await anext(lines)] == [b"data: a", b""]
        with pytest.raises(Unreachable):
            await anext(lines)


async def test_a_stream_that_is_silent_for_too_long_has_broken() -> None:
    with talking(stream(b"data: a\n", whole=False).removesuffix(CLOSE) + HANG) as talker:
        lines = aiter(await AsyncHttp(talker.url).stream("GET", "/", silence_s=0.1))
        assert await anext(lines) == b"data: a"
        with pytest.raises(Unreachable, match="too long"):
            await anext(lines)


def test_another_loop_begins_with_connections_of_its_own() -> None:
    with talking(reply(), reply(200, b"again")) as talker:
        http = AsyncHttp(talker.url)

        async def ask(closing: bool) -> bytes:
            got = await http.request("GET", "/")
            if closing:
                await http.close()
            return got.body

        # A loop that ends takes its transports along; what it leaves behind is of no use to the next.
        assert asyncio.run(ask(True)) == b"{}"
        assert asyncio.run(ask(True)) == b"again"
        assert talker.connections == 2
