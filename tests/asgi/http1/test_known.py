"""A head that is known is read without the parser, and says what the parser would have said."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.asgi.http1.hand import Taking, linked
from tests.support.tables import table
from towerlog.asgi import connection
from towerlog.asgi.connection import Connection
from towerlog.asgi.http1.known import MAX_LINES_BYTES, MAX_MISSES
from towerlog.model.principal import Principal, Scope

PRINCIPAL = Principal(1, "org", "user", "key", frozenset({Scope.INGEST}))
KEY = b"Host: localhost\r\nAuthorization: Bearer k\r\n"
LINES = {
    "plain": KEY + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n",
    "length first": b"content-length:%d\r\n" + KEY + b"\r\n",
    "blanks": KEY + b"Content-Length:  %d\t\r\n\r\n",
    "zeros": KEY + b"Content-Length: 00%d\r\n\r\n",
    "twice": KEY + b"Content-Length: %d\r\nContent-Length: 3\r\n\r\n",
    "in a value": KEY + b"X-Note: content-length: 3\r\nContent-Length: %d\r\n\r\n",
    "closes": KEY + b"Connection: close\r\nContent-Length: %d\r\n\r\n",
    "expects": KEY + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n",
    "upgrades": KEY + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n",
    "no host": b"Content-Length: %d\r\n\r\n",
    "one behind": KEY + b"Content-Length: %d\r\nX-Note: 1\r\n\r\n",
    "another behind": KEY + b"Content-Length: %d\r\nX-Note: 2\r\n\r\n",
    "folded": KEY + b"X-Note: a\r\n content-length: 3\r\nContent-Length: %d\r\n\r\n",
}
FIRST = [
    b"POST /a ",
    b"POST /b?x=1 ",
    b"POST /%61 ",
    b"POST /a#b ",
    b"POST /a b ",
    b"post /a ",
    b"GET /a ",
    b"POST a ",
    b"LOCK /a ",
]


class Knowing(Taking):
    """Knows the key of each request."""

    def take(self, scope: Any, body: bytes, respond: Any) -> Any:
        if "known" in scope:
            scope["known"](self.ledger.account(PRINCIPAL))
        return super().take(scope, body, respond)


def request(lines: str = "plain", first: bytes = b"POST /a ", body: bytes = b"{}", missing: int = 0) -> bytes:
    """A request whose length says that so many bytes are missing of its body."""
    return first + b"HTTP/1.1\r\n" + LINES[lines] % (len(body) + missing) + body


async def said(packets: list[bytes]) -> tuple[Any, ...]:
    """What a connection does with these packets: its replies, and what its application was given."""
    app = Knowing()
    link, transport = linked(app)
    for packet in packets:
        link.data_received(packet)
        for _ in range(3):
            await asyncio.sleep(0)
    tasks = list(link._state.tasks)
    link.connection_lost(None)
    if tasks:
        await asyncio.wait(tasks)
    scopes = [{name: value for name, value in scope.items() if name not in {"known"}} for scope in app.scopes]
    return transport.taken, transport.has_ended, app.done, scopes


async def same(sent: list[bytes]) -> None:
    """Holds what is said of these packets against what the parser says of each of them."""
    known = await said(sent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "MAX_MISSES", 0)
        assert known == await said(sent)


plain = st.builds(request, body=st.binary(max_size=12))
any_request = st.builds(
    request,
    st.sampled_from(list(LINES)),
    st.sampled_from(FIRST),
    st.one_of(st.binary(max_size=12), st.just(b"x" * 3_000)),
    st.sampled_from([0, 0, 0, 1, -1, 5]),
)


@st.composite
def packets(draw: st.DrawFn) -> list[bytes]:
    """Requests of which many are alike; some come in two packets, and some two in one."""
    found: list[bytes] = [request()] * draw(st.integers(0, 3))
    for part in draw(st.lists(st.one_of(plain, any_request), min_size=1, max_size=6)):
        how = draw(st.sampled_from(["alone", "alone", "alone", "cut", "behind"]))
        if how == "behind" and found:
            found[-1] += part
        elif how == "cut":
            at = draw(st.integers(1, max(1, len(part) - 1)))
            found += [part[:at], part[at:]]
        else:
            found.append(part)
    return [packet for packet in found if packet]


@given(packets())
@example([request()] * 3 + [request(body=b"x" * 3_000)])
@example([request()] * 3 + [request(missing=1), b"}"])
@example([request()] * 3 + [request(missing=-1)])
@example([request()] * 3 + [request() + request(first=b"POST /b?x=1 ")])
@example([request("length first")] * 3 + [request("length first", body=b"1234567890")])
async def test_it_says_what_the_parser_says(sent: list[bytes]) -> None:
    await same(sent)


@table("first", FIRST)
@table("after", LINES)
async def test_it_says_so_of_each_head_behind_a_known_one(after: str, first: bytes) -> None:
    await same([request()] * 3 + [request(after, first, b"123")] * 2)
    await same([request("one behind")] * 3 + [request(after, first, b"123")] * 2)


def without_parser(link: Connection) -> None:
    """From now on nothing can be read that is not known."""

    class Gone:
        def feed_data(self, data: bytes) -> None:
            raise AssertionError("the parser was asked")

    link._parser = Gone()


async def test_the_third_request_with_the_same_lines_needs_no_parser() -> None:
    """Its target, its body and its length are its own, and so is what is said of the one before."""
    app = Knowing()
    link, transport = linked(app)
    for _ in range(2):
        link.data_received(request())
    without_parser(link)
    link.data_received(request(first=b"POST /b?x=1 ", body=b"12345"))
    assert app.done[2:] == [("/b", b"12345")]
    assert (app.scopes[2]["query_string"], app.scopes[2]["given"][b"content-length"]) == (b"x=1", b"5")
    assert app.scopes[1]["given"][b"content-length"] == b"2"
    assert (b"content-length", b"5") in app.scopes[2]["headers"]
    assert transport.statuses == [200, 200, 200]


@pytest.mark.parametrize("what", ["a caller without a key", "a proxy", "long lines"])
async def test_some_heads_are_read_each_time(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose requests count for somebody else each time, or whose head is too much to remember."""
    app = Taking() if what == "a caller without a key" else Knowing()
    link, _ = linked(app)
    if what == "a proxy":
        link._visit.is_proxied = True
    sent = request()
    if what == "long lines":
        sent = sent.replace(b"Host", b"X-Long: %s\r\nHost" % (b"x" * MAX_LINES_BYTES))
    for _ in range(3):
        link.data_received(sent)
    without_parser(link)
    with pytest.raises(AssertionError, match="the parser was asked"):
        link.data_received(sent)


async def test_whose_heads_are_never_the_same_is_not_remembered() -> None:
    """A program that numbers its requests in a header costs nothing more for it."""
    app = Knowing()
    link, _ = linked(app)
    for number in range(MAX_MISSES + 2):
        link.data_received(request().replace(b"Host", b"X-Number: %d\r\nHost" % number))
    link.data_received(request())
    without_parser(link)
    with pytest.raises(AssertionError, match="the parser was asked"):
        link.data_received(request())
