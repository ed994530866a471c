"""Follows a stream over any number of connections: each event once and in order, to its end.

For asyncio; `follow` is generated from this module. The position is kept in a `Cursor`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import TypeVar

from towerlog.sdk.api.cursors import PATIENCE_S, Cursor, Reconnects
from towerlog.sdk.api.shapes import Gap, Shape
from towerlog.sdk.wire.address import Response
from towerlog.sdk.wire.async_connection import AsyncSignal
from towerlog.sdk.wire.async_http import AsyncHttp
from towerlog.sdk.wire.errors import SdkError
from towerlog.sdk.wire.refusals import refusal, understood
from towerlog.sdk.wire.sse import FrameReader

S = TypeVar("S", bound=Shape)


async def async_follow(
    http: AsyncHttp, cursor: Cursor[S], patience_s: float = PATIENCE_S, closed: AsyncSignal | None = None
) -> AsyncIterator[S | Gap]:
    """Events as they come, until the stream ends or `closed` is set.

    Raises ApiError for a refusal, Unreachable if the server is away for `patience_s`.
    """
    closed = closed or AsyncSignal()
    reconnects = Reconnects(patience_s)
    while not cursor.finished and not closed.is_set():
        try:
            async with await http.stream("GET", cursor.path, cursor.headers()) as stream:
                if stream.status >= 300:
                    raise refusal(Response(stream.status, stream.headers, await stream.read()))
                cursor.connected(stream.status, stream.headers)
                reconnects.received()
                reader = FrameReader()
                async for line in stream:
                    reconnects.received()
                    frame = reader.feed(line)
                    if frame is not None and (news := understood(partial(cursor.take, frame))) is not None:
                        reconnects.progressed()
                        yield news
                if not cursor.finished:
                    reconnects.ended()
        except SdkError as error:
            reconnects.failed(error)
        if not cursor.finished:
            await closed.wait(reconnects.pause_s())
