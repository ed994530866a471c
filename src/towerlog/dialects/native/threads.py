"""Native endpoints that read threads."""

from __future__ import annotations

from towerlog.dialects.base import Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.fields import path_id
from towerlog.dialects.native import shapes
from towerlog.dialects.native.lists import CursorQuery, Listing, limit_of, page_reply, read_cursor
from towerlog.model.outcome import Page, ThreadView
from towerlog.model.principal import Scope
from towerlog.model.question import GetThread, ListThreads

READ = scopes(Scope.READ)


def _decode_threads(call: Call) -> ListThreads:
    return ListThreads(limit_of(call), read_cursor("threads", call.query.get("cursor")))


def _encode_threads(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("threads", outcome, shapes.thread_of)


def _decode_thread(call: Call) -> GetThread:
    return GetThread(path_id(call.path["thread_id"], "thread"))


def _encode_thread(outcome: ThreadView, command: object, call: Call) -> Reply:
    return reply_json(shapes.thread_of(outcome.row))


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/threads", "list_threads", "Threads, newest first.", READ, _decode_threads, _encode_threads,
        query=CursorQuery, reply=Listing[shapes.Thread],
    ),
    Endpoint(
        "GET", "/api/v1/threads/{thread_id}", "get_thread", "A thread.", READ, _decode_thread, _encode_thread,
        reply=shapes.Thread,
    ),
)  # fmt: skip
"""The endpoints of threads."""
