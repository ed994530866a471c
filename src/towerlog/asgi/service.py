"""The service: does what the gate cannot do without waiting, and sends the reply of whatever was waited for.

It awaits a key that was not seen lately, the rest of a body, a page, the engine, a long poll; a stream it opens and
hands back. The checks themselves are the gate's, in the gate's order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, nullcontext
from functools import partial
from typing import Any

import msgspec

from towerlog.asgi.bodies import Bodies, Disconnected
from towerlog.asgi.components import Components
from towerlog.asgi.exchange import Exchange, Switch
from towerlog.asgi.gate import Gate, Missing, head_of
from towerlog.asgi.guard.auth import has_credential
from towerlog.asgi.guard.decoding import DECODED_AT_ONCE_BYTES
from towerlog.asgi.guard.ledger import Account
from towerlog.asgi.push.sse import SseSink, stream_head
from towerlog.asgi.push.streams import Stream, StreamPlace, Streams
from towerlog.asgi.query_strings import TICKET, parse_query
from towerlog.asgi.replies import NO_EXTENSIONS, Message, Receive, Send, send_reply
from towerlog.asgi.routes import PageVisit
from towerlog.asgi.shares.share import Resource
from towerlog.asgi.shares.waits import LendingWait
from towerlog.dialects.base import Reply
from towerlog.errors import Internal, Malformed, Overloaded, Stopped, TowerlogError, Unauthenticated
from towerlog.model import question
from towerlog.model.command import Append, Report
from towerlog.model.outcome import Outcome
from towerlog.model.principal import Principal
from towerlog.model.question import FollowRun, Read, may_take_long

STOPPED_RETRY_S = 1
_NO_CONTENT = Reply(204, b"")


class Service:
    """Serves all requests that have to wait for something."""

    def __init__(self, gate: Gate, components: Components, streams: Streams, epoch: str) -> None:
        """`components` are the gate's; `epoch` names the log, for the heads of streams."""
        self._gate = gate
        self._engine = components.engine
        self._auth = components.auth
        self._bodies: Bodies = components.bodies
        self._decoding = components.decoding
        self._ledger = components.ledger
        self._pace = components.pace
        self._addresses = components.addresses
        self._streams = streams
        self._epoch = epoch
        self.is_stopping = False
        """A request that is cancelled from now on is so because the server ends."""

    async def serve(self, scope: Message, receive: Receive, send: Send) -> Stream | None:
        """Answers a request. A stream is opened, not run: that is the caller's, when all of this is off the stack."""
        gate, extensions = self._gate, scope.get("extensions", NO_EXTENSIONS)
        exchange: Exchange | None = extensions.get("towerlog.exchange")
        if exchange is None:
            at_hand = extensions.get("towerlog.body")
            exchange = gate.begin(scope, None if at_hand is None else at_hand())
        with ExitStack() as turns:
            try:
                reply = await self._reply(exchange, receive, send, turns)
            except Disconnected:
                return None
            except asyncio.CancelledError:
                if not self.is_stopping:
                    raise
                # The time for what was under way is over. This task has nothing else to do than to say so.
                reply = gate.refusal(exchange, Stopped(retry_after=STOPPED_RETRY_S))
            except Exception as fault:
                reply = gate.refusal(exchange, fault)
            finally:
                gate.release(exchange)
            gate.count(exchange, 200 if isinstance(reply, Stream) else reply.status)
            if isinstance(reply, Stream):
                return reply
            if isinstance(reply, Switch):
                refusal = await self._switched(exchange, reply)
                if refusal is None:
                    return None
                reply = refusal
            await send_reply(scope, send, reply, head_of(reply, exchange.trace_id, exchange.extra))
            return None

    async def _switched(self, exchange: Exchange, reply: Switch) -> Reply | None:
        """Hands the connection over; the refusal where it cannot be."""
        switch = exchange.scope.get("extensions", NO_EXTENSIONS).get("towerlog.switch")
        head = [(b"x-trace-id", exchange.trace_id.encode("ascii")), *reply.headers]
        if switch is not None and await switch(head, reply.successor):
            return None
        return self._gate.refusal(exchange, Malformed("This connection cannot switch to WebSocket."))

    async def _reply(self, exchange: Exchange, receive: Receive, send: Send, turns: ExitStack) -> Reply | Stream:
        while (missing := self._gate.advance(exchange)) is not None:
            match missing:
                case Missing.PAGE:
                    return await self._page(exchange, receive)
                case Missing.KEY:
                    with _held(exchange):
                        principal = exchange.principal = await self._principal(exchange)
                        await self._turn(exchange, self._ledger.account(principal))
                case Missing.BODY | Missing.TEXT:
                    await self._fetch(exchange, missing, receive)
                case Missing.COMMAND:
                    assert exchange.call is not None
                    assert exchange.account is not None
                    async with self._aside(exchange):
                        exchange.decoded = await self._decoding.aside(exchange.endpoint, exchange.call)
        asker = exchange.principal
        assert asker is not None
        if isinstance(exchange.command, question.Stream):
            return await self._stream(exchange, asker, exchange.command, receive, send)
        if getattr(exchange.command, "wait_ms", 0):
            outcome = await self._attended(exchange, asker, receive)
            assert exchange.account is not None
            await self._turn(exchange, exchange.account)
        else:
            # A search gives its turn back with its answer: whoever is slow to take that keeps no other from searching.
            with ExitStack() as while_it_lasts:
                if isinstance(exchange.command, Read):
                    is_long = may_take_long(exchange.command)
                    await self._read_turns(exchange, while_it_lasts if is_long else turns)
                outcome = await self._executed(exchange, asker)
        if exchange.endpoint.encodes_beside:
            async with self._aside(exchange):
                return await self._decoding.beside(partial(self._gate.reply, exchange, outcome))
        return self._gate.reply(exchange, outcome)

    async def _fetch(self, exchange: Exchange, missing: Missing, receive: Receive) -> None:
        """The rest of a body, or what is in it."""
        assert exchange.account is not None
        assert exchange.route is not None
        if missing is Missing.BODY:
            with self._lending(exchange):
                exchange.sent = await self._bodies.collect(receive, partial(self._gate.take_room, exchange))
            await self._turn(exchange, exchange.account)
            return
        assert exchange.sent is not None
        sent, headers, kind = exchange.sent, exchange.headers, exchange.route.body
        async with self._aside(exchange):
            exchange.body = await self._bodies.opened_aside(sent, headers, kind, exchange.route.repairs)

    def _lending(self, exchange: Exchange) -> LendingWait:
        """A wait in which the room for its body can be given to somebody who holds less. It then raises Overloaded."""
        assert exchange.account is not None
        return LendingWait(
            exchange.account.key,
            lambda: exchange.held_bytes,
            partial(self._gate.release, exchange),
            self._ledger.given_up,
        )

    @asynccontextmanager
    async def _aside(self, exchange: Exchange) -> AsyncIterator[None]:
        """Its organisation's turn to have a body opened or decoded beside the event loop."""
        assert exchange.account is not None
        aside = exchange.account.organisation.aside
        with self._lending(exchange):
            await aside.acquire()
        try:
            yield
        finally:
            aside.release()

    async def _read_turns(self, exchange: Exchange, turns: ExitStack) -> None:
        """Waits until its answer may be made. Raises Overloaded where those before it are not taken."""
        account, ledger = exchange.account, self._ledger
        reads = ledger.searches if may_take_long(exchange.command) else ledger.reads
        assert account is not None
        turn = reads.ask(account.org_id, account.key_id)
        turns.callback(reads.end, turn)
        if not turn.done():
            # Not awaited itself: where this task is cancelled, it has to leave the line as one that has not begun.
            await asyncio.wait((turn,))
        ledger.check_replies(account.shares)

    async def _turn(self, exchange: Exchange, account: Account) -> None:
        """What was waited for may have come for many at once: each goes on in its turn of the event loop."""
        size = len(exchange.sent or b"")
        # What is longer is decoded beside the loop.
        await self._pace.turn(size if size <= DECODED_AT_ONCE_BYTES else 0, account.organisation)

    async def _principal(self, exchange: Exchange) -> Principal:
        """Who asks: by the key in the headers; of a stream without one, by the ticket in the URL."""
        headers, steady_ms = exchange.headers, exchange.steady_ms
        assert exchange.route is not None
        if exchange.route.is_stream and not has_credential(headers):
            ticket = parse_query(exchange.scope["query_string"]).get(TICKET)
            if ticket is not None:
                # A HEAD opens no stream: what only looks at a link does not take it from its reader.
                opens = exchange.scope["method"] != "HEAD"
                return await self._auth.by_ticket(ticket, steady_ms, opens=opens)
        return await self._auth.authenticate(headers, steady_ms)

    async def _executed(self, exchange: Exchange, principal: Principal) -> Outcome:
        command, route = exchange.command, exchange.route
        assert command is not None
        assert route is not None
        assert not isinstance(command, question.Stream)
        address = self._addresses.of(exchange.scope)
        return await self._engine.execute(principal, command, route.dialect.name, exchange.repeat, address)

    async def _page(self, exchange: Exchange, receive: Receive) -> Reply:
        """Answers with a page."""
        route, scope = exchange.route, exchange.scope
        assert route is not None
        assert route.page is not None
        if route.page.asker is not None:
            principal = exchange.principal = await route.page.asker(exchange.path)
            self._gate.open_account(exchange, principal)
            self._gate.admit(exchange)
            while (missing := self._gate.read(exchange)) is not None:
                await self._fetch(exchange, missing, receive)
        return await route.page.answer(
            PageVisit(
                headers=exchange.headers,
                query=route.query_of(scope["query_string"]),
                is_local=self._addresses.is_local(scope),
                steady_ms=exchange.steady_ms,
                principal=exchange.principal,
                path=exchange.path,
                body=exchange.body or b"",
                address=self._addresses.of(scope),
            )
        )

    async def _polled(self, exchange: Exchange, principal: Principal) -> Outcome:
        """A long poll. Once its events are stored, neither they nor its body stay in memory while it waits."""
        command, engine = exchange.command, self._engine
        assert exchange.route is not None
        dialect = exchange.route.dialect.name
        if exchange.repeat is not None or not isinstance(command, Append | Report):
            return await self._executed(exchange, principal)
        command = await engine.stored_first(principal, command)
        stored: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        engine.enlist(principal, command, dialect, stored, exchange.held_bytes)
        exchange.command = command = msgspec.structs.replace(command, items=[])
        outcome = await stored
        self._gate.release(exchange)
        return await engine.hold(principal, command, outcome, dialect)

    async def _attended(self, exchange: Exchange, principal: Principal, receive: Receive) -> Outcome:
        """A long poll in its place among all. It ends early when its caller disconnects or its key is revoked."""
        assert exchange.account is not None
        place = self._ledger.take_place(exchange.account.shares, Resource.POLL)
        loop = asyncio.get_running_loop()
        stopped: asyncio.Future[type[TowerlogError]] = loop.create_future()
        tasks: list[asyncio.Task[Any]] = []

        def stop(why: type[TowerlogError] = Unauthenticated) -> None:
            if not stopped.done():
                stopped.set_result(why)

        try:
            self._auth.watch(principal, stop)
            place.offer(partial(stop, Overloaded))
            work, left = loop.create_task(self._polled(exchange, principal)), loop.create_task(_disconnect(receive))
            tasks += work, left
            await asyncio.wait((work, left, stopped), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if stopped.done():
                raise self._ledger.given_up() if stopped.result() is Overloaded else Unauthenticated
            raise Disconnected
        finally:
            place.give_back()
            self._auth.unwatch(principal, stop)
            for task in tasks:
                task.cancel()

    async def _stream(
        self,
        exchange: Exchange,
        principal: Principal,
        command: question.Stream,
        receive: Receive,
        send: Send,
    ) -> Reply | Stream:
        """Opens a stream in its place among all streams; one that has nothing left is a reply."""
        style = exchange.endpoint.stream
        if style is None:
            raise Internal
        assert exchange.account is not None
        place = self._ledger.take_place(exchange.account.shares, Resource.STREAM)
        try:
            follower = await self._engine.follow(principal, command, style)
        except BaseException:
            place.give_back()
            raise
        head = stream_head(exchange.trace_id, self._epoch, exchange.extra)
        # 204 is how a browser is told not to connect again. Who asks for the first time gets the end itself.
        is_over = follower.finished and isinstance(command, FollowRun) and command.is_reconnect
        if is_over or exchange.scope["method"] == "HEAD":
            follower.close()
            place.give_back()
            return _NO_CONTENT if is_over else _head_only(head)
        sink = SseSink(exchange.scope, receive, send, head, style)
        account = exchange.account
        own = StreamPlace(place.give_back, self._ledger.frames, account.org_id, account.key_id)
        stream = self._streams.open(follower, sink, principal, own)
        place.offer(stream.make_place)
        return stream


def _held(exchange: Exchange) -> AbstractContextManager[None]:
    """What has come of its body counts for its connection until it counts for its key. Raises Overloaded."""
    hold = exchange.scope.get("extensions", NO_EXTENSIONS).get("towerlog.hold")
    if hold is None or not exchange.sent:
        return nullcontext()
    held: AbstractContextManager[None] = hold(len(exchange.sent))
    return held


async def _disconnect(receive: Receive) -> None:
    """Ends when the caller has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _head_only(head: list[tuple[bytes, bytes]]) -> Reply:
    """What a stream would begin with."""
    kept = tuple(header for header in head if header[0] not in (b"content-type", b"x-trace-id"))
    return Reply(200, b"", "text/event-stream", kept)
