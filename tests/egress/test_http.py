"""A post over real connections: what is sent, what counts as an answer, and every way in which there is none."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import towerlog.egress.connections
import towerlog.egress.http
from tests.egress.receivers import (
    ORG,
    Answer,
    Connection,
    Receiver,
    answer_of,
    failure_of,
    outside,
    receiving,
    resolving,
    saying,
    silent,
)
from tests.support.ports import HeldPort
from tests.support.tables import table
from tests.support.wait import wait_until_async
from towerlog.egress.connections import MAX_ADDRESSES, in_order, is_own
from towerlog.egress.hosts import Address
from towerlog.egress.http import MAX_ANSWER_BYTES, MAX_CONTENT_BYTES, MAX_HEADERS, Poster
from towerlog.egress.outcomes import EgressFailure, HttpAnswer, Undelivered

NAME = "receiver.hooks-tests.net"
DRIP_S = 0.02
MUCH_BYTES = 16 * 2**20


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """The server runs on uvloop, whose connections are others than asyncio's."""
    return "asyncio", {"use_uvloop": request.param}


async def post(
    receiver: Receiver, content: bytes = b"{}", *, poster: Poster | None = None, path: str = "/"
) -> HttpAnswer | Undelivered:
    poster = poster or outside().poster
    return await poster.post(f"http://127.0.0.1:{receiver.port}{path}", content, {}, org_id=ORG)


async def test_what_is_sent_and_what_comes_back() -> None:
    poster = outside(resolving({NAME: ["127.0.0.1"]})).poster
    async with receiving(saying(b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nlater")) as receiver:
        url = f"http://Receiver.hooks-tests.net:{receiver.port}/a/b?c=%20d"
        headers = {"Content-Type": "application/json", "webhook-id": "msg_1"}
        answer = answer_of(await poster.post(url, b'{"a": 1}', headers, org_id=ORG))
    assert (answer.status, answer.body, answer.is_whole, answer.is_accepted) == (202, b"later", True, True)
    assert answer.duration_ms >= 0
    [connection] = receiver.connections
    assert connection.request.startswith(b"POST /a/b?c=%20d HTTP/1.1\r\n")
    assert connection.body == b'{"a": 1}'
    assert connection.headers == {
        "host": f"{NAME}:{receiver.port}",
        "user-agent": "towerlog",
        "accept-encoding": "identity",
        "connection": "close",
        "content-type": "application/json",
        "webhook-id": "msg_1",
        "content-length": "8",
    }


@table("status", [200, 204, 301, 400, 404, 410, 429, 500, 503, 999])
async def test_every_status_is_an_answer(status: int) -> None:
    async with receiving(saying(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())) as receiver:
        answer = answer_of(await post(receiver))
    assert (answer.status, answer.is_accepted, answer.body, answer.is_whole) == (status, status < 300, b"", True)


async def test_no_redirect_is_followed() -> None:
    async with receiving() as inside:
        where = f"Location: http://127.0.0.1:{inside.port}/\r\n".encode()
        async with receiving(saying(b"HTTP/1.1 307 X\r\n" + where + b"Content-Length: 0\r\n\r\n")) as receiver:
            assert answer_of(await post(receiver)).status == 307
        assert (receiver.count, inside.count) == (1, 0)


async def test_nothing_of_the_environment_has_a_part_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path, held_port: HeldPort
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with receiving(port=held_port.number) as proxy, receiving() as receiver:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        answer_of(await post(receiver))
        assert proxy.count == 0
        assert "authorization" not in receiver.connections[0].headers
    assert "HTTP_PROXY" in os.environ


async def test_no_connection_and_no_cookie_is_kept() -> None:
    setting = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"

    async def patient(connection: Connection) -> None:
        await connection.read_request()
        await connection.say(setting)
        assert await connection.reader.read() == b"", "the client closes"

    poster = outside().poster
    async with receiving(patient) as receiver:
        for _ in range(2):
            answer_of(await post(receiver, poster=poster))
        assert receiver.count == 2
        assert all("cookie" not in connection.headers for connection in receiver.connections)


async def test_nothing_is_decompressed() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with receiving(saying(head, bomb)) as receiver:
        answer = answer_of(await post(receiver))
    assert answer.body == bomb


def endless(begin: bytes, again: bytes) -> Answer:
    """Sends far more than is read, then nothing: a client without a bound must not take all memory."""

    async def answer(connection: Connection) -> None:
        await connection.read_request()
        await connection.say(begin)
        for _ in range(MUCH_BYTES // len(again)):
            await connection.say(again)
        await silent(connection)

    return answer


CHUNK = b"8000\r\n" + bytes(0x8000) + b"\r\n"


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", bytes(65536)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"line\n" * 1000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"Trailer: x\r\n" * 100),
    ],
    ids=["length", "chunked", "until-closed", "trailers"],
)
async def test_of_an_endless_answer_the_first_64_kib_are_read(begin: bytes, again: bytes) -> None:
    async with receiving(endless(begin, again)) as receiver:
        answer = answer_of(await post(receiver))
    assert (answer.status, answer.is_whole) == (200, False)
    assert len(answer.body) < MAX_ANSWER_BYTES


@pytest.mark.parametrize("size", [0, 1, 40_000, MAX_ANSWER_BYTES - 100])
async def test_an_answer_that_fits_is_whole(size: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    async with receiving(saying(head, b"x" * size)) as receiver:
        answer = answer_of(await post(receiver))
    assert (answer.body, answer.is_whole) == (b"x" * size, True)


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n" * 100),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 10_000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100),
        (b"", b"\r\n" * 1000),
        (b"HTTP/1.1 200 ", b"y" * 10_000),
    ],
    ids=["headers", "one-header", "continue", "hints", "empty-lines", "reason"],
)
async def test_a_head_that_does_not_end_is_no_answer(begin: bytes, again: bytes) -> None:
    async with receiving(endless(begin, again)) as receiver:
        assert failure_of(await post(receiver)) is EgressFailure.NOT_UNDERSTOOD


@table(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"220 mail.example.com ESMTP\r\n",
        b"-ERR unknown command\r\n",
        b"<html>hello</html>\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
        bytes(100),
    ],
)
async def test_what_is_not_http_is_no_answer(said: bytes) -> None:
    async with receiving(saying(said + b"\r\n\r\n")) as receiver:
        assert failure_of(await post(receiver)) is EgressFailure.NOT_UNDERSTOOD


def resetting(*parts: bytes) -> Answer:
    async def answer(connection: Connection) -> None:
        await connection.read_request()
        for part in parts:
            await connection.say(part)
        connection.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
        )
        connection.writer.transport.abort()

    return answer


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-"])
@pytest.mark.parametrize("ending", [saying, resetting])
async def test_a_connection_that_ends_before_the_answer(part: bytes, ending: Callable[..., Answer]) -> None:
    async with receiving(ending(part)) as receiver:
        assert failure_of(await post(receiver)) is EgressFailure.BROKEN_OFF


async def test_a_connection_that_ends_in_the_body_has_answered() -> None:
    async with receiving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")) as receiver:
        answer = answer_of(await post(receiver))
    assert (answer.status, answer.body, answer.is_whole) == (200, b"half", False)


async def silent_after_the_request(connection: Connection) -> None:
    await connection.read_request()
    await connection.reader.read()


def dripping(begin: bytes, drop: bytes) -> Answer:
    async def answer(connection: Connection) -> None:
        await connection.read_request()
        await connection.say(begin)
        while True:
            await connection.say(drop)
            await asyncio.sleep(DRIP_S)

    return answer


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    "answer",
    [silent, silent_after_the_request, dripping(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"), dripping(b"HTTP/1.1 200 ", b"x")],
    ids=["nothing", "nothing-after-the-request", "headers", "reason"],
)
async def test_an_answer_that_does_not_come_ends_at_the_deadline(answer: Answer) -> None:
    async with receiving(answer) as receiver:
        assert failure_of(await post(receiver)) is EgressFailure.TOO_SLOW
        await asyncio.wait_for(receiver.ended.wait(), 60)


@pytest.mark.usefixtures("hurried")
async def test_a_slow_body_has_answered_all_the_same() -> None:
    # Without a deadline all of it would come, six deadlines later.
    drops = int(6 * towerlog.egress.http.POST_SECONDS / DRIP_S)
    head = b"HTTP/1.1 201 OK\r\nContent-Length: %d\r\n\r\n" % drops
    async with receiving(dripping(head, b"x")) as receiver:
        answer = answer_of(await post(receiver))
        await asyncio.wait_for(receiver.ended.wait(), 60)
    assert (answer.status, answer.is_whole) == (201, False)
    assert 0 < len(answer.body) < drops
    assert answer.duration_ms >= 400


@pytest.mark.usefixtures("hurried")
async def test_a_server_that_reads_nothing_ends_at_the_deadline() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        outcome = await outside().poster.post(url, bytes(MAX_CONTENT_BYTES), {}, org_id=ORG)
    assert failure_of(outcome) is EgressFailure.TOO_SLOW


async def test_an_answer_before_the_body_was_read_counts() -> None:
    async def hasty(connection: Connection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        await connection.say(b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n")
        await connection.reader.read()

    async with receiving(hasty) as receiver:
        assert answer_of(await post(receiver, bytes(100_000))).status == 413


async def test_nobody_there_is_said(held_port: HeldPort) -> None:
    outcome = await outside().poster.post(f"{held_port.url}/", b"", {}, org_id=ORG)
    assert failure_of(outcome) is EgressFailure.NOT_CONNECTED


async def test_where_the_first_address_takes_no_connection_the_next_is_tried(held_port: HeldPort) -> None:
    poster = outside(resolving({NAME: ["127.0.0.9", "::1", "127.0.0.1"]})).poster
    async with receiving(port=held_port.number) as receiver:
        answer_of(await poster.post(f"http://{NAME}:{receiver.port}/", b"", {}, org_id=ORG))
        assert receiver.count == 1


async def test_where_the_first_address_is_dead_the_next_is_tried(
    monkeypatch: pytest.MonkeyPatch, held_port: HeldPort
) -> None:
    monkeypatch.setattr(towerlog.egress.connections, "CONNECT_SECONDS", 0.2)
    poster = outside(resolving({NAME: ["127.0.0.9", "127.0.0.1"]})).poster
    with socket.socket() as dead:
        # The kernel answers nobody any more once the queue of connections is full.
        dead.bind(("127.0.0.9", held_port.number))
        dead.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.9", held_port.number))
        async with receiving(port=held_port.number) as receiver:
            answer_of(await poster.post(f"http://{NAME}:{receiver.port}/", b"", {}, org_id=ORG))
            assert receiver.count == 1
        for one in waiting:
            one.close()


def test_addresses_take_turns_by_family() -> None:
    given_ = [*map(_address, ("::1", "::2", "::3", "::4", "::5", "1.1.1.1", "1.1.1.2"))]
    assert [str(one) for one in in_order(given_)] == ["::1", "1.1.1.1", "::2", "1.1.1.2"]
    assert len(in_order(given_)) == MAX_ADDRESSES
    assert in_order(given_[:1]) == (given_[0],)


def _address(text: str) -> Address:
    return towerlog.egress.connections.ip_address(text)


def test_which_addresses_are_this_machines_own() -> None:
    assert is_own(_address("127.0.0.1"))
    assert is_own(_address("::1"))
    assert not is_own(_address("1.1.1.1"))
    assert not is_own(_address("2606:4700::1111"))
    assert not is_own(_address("255.255.255.255"))


async def test_a_cancelled_post_closes_its_connection_and_says_nothing() -> None:
    async with receiving(silent) as receiver:
        task = asyncio.create_task(post(receiver))
        await wait_until_async(lambda: receiver.count, "the connection")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(receiver.ended.wait(), 60)


@table(
    "content, headers",
    [
        (bytes(MAX_CONTENT_BYTES + 1), {}),
        (b"", {"Host": "elsewhere.example"}),
        (b"", {"content-length": "5"}),
        (b"", {"Transfer-Encoding": "chunked"}),
        (b"", {"X-A": "b\r\nX-C: d"}),
        (b"", {"X-A\r\nX-C": "b"}),
        (b"", {"X-A": "ü"}),
        (b"", {"X-A": ""}),
        (b"", {"X A": "b"}),
        (b"", {f"X-{number}": "b" for number in range(MAX_HEADERS + 1)}),
    ],
)
async def test_a_message_that_cannot_be_sent_is_refused_before_anything_is(content: bytes, headers) -> None:
    async with receiving() as receiver:
        outcome = await outside().poster.post(f"http://127.0.0.1:{receiver.port}/", content, headers, org_id=ORG)
        assert failure_of(outcome) is EgressFailure.REFUSED_HERE
        assert receiver.count == 0


async def test_an_error_that_nobody_knows_is_logged_and_does_not_come_out(caplog: pytest.LogCaptureFixture) -> None:
    def broken(name: str, port: int) -> Sequence[str]:
        raise ZeroDivisionError

    outcome = await outside(broken).poster.post("http://a.example.net/", b"", {}, org_id=ORG)
    assert failure_of(outcome) is EgressFailure.INTERNAL


@given(st.binary(max_size=200), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_no_bytes_make_it_raise(said: bytes, after_a_head: bool) -> None:
    async def talk() -> None:
        head = b"HTTP/1.1 200 OK\r\n" if after_a_head else b""
        async with receiving(saying(head + said)) as receiver:
            assert isinstance(await post(receiver), HttpAnswer | Undelivered)

    asyncio.run(talk())
