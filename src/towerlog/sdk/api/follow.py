# Generated from async_follow.py by tools/blocking_from_async.py: change the source, then run `make blocking`.
"""Follows a stream over any number of connections: each event once and in order, to its end.

For threads that may block. The position is kept in a `Cursor`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TypeVar

from towerlog.sdk.api.cursors import PATIENCE_S, Cursor, Reconnects
from towerlog.sdk.api.shapes import Gap, Shape
from towerlog.sdk.wire.address import Response
from towerlog.sdk.wire.connection import Signal
from towerlog.sdk.wire.errors import SdkError
from towerlog.sdk.wire.http import Http
from towerlog.sdk.wire.refusals import refusal, understood
from towerlog.sdk.wire.sse import FrameReader

S = TypeVar("S", bound=Shape)


def follow(
    http: Http, cursor: Cursor[S], patience_s: float = PATIENCE_S, closed: Signal | None = None
) -> Iterator[S | Gap]:
    """Events as they come, until the stream ends or `closed` is set.

    Raises ApiError for a refusal, Unreachable if the server is away for `patience_s`.
    """
    closed = closed or Signal()
    reconnects = Reconnects(patience_s)
    while not cursor.finished and not closed.is_set():
        try:
            with http.stream("GET", cursor.path, cursor.headers()) as stream:
                if stream.status >= 300:
                    raise refusal(Response(stream.status, stream.headers, stream.read()))
                cursor.connected(stream.status, stream.headers)
                reconnects.received()
                reader = FrameReader()
                for line in stream:
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
            closed.wait(reconnects.pause_s())
