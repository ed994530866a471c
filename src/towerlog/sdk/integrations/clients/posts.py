# Generated from async_posts.py by tools/blocking_from_async.py: change the source, then run `make blocking`.
"""Requests of a wrapped client, and the streams that they return."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from towerlog.sdk.integrations.clients.calls import Call, Calls, is_raw


def posts(calls: Calls, post: Callable[..., Any]) -> Callable[..., Any]:
    """The `post` of a client, which reports what it asks models."""

    def reported(path: str, **options: Any) -> Any:
        call = calls.begin(path, options)
        if call is None:
            return post(path, **options)
        try:
            response = post(path, **options)
        except BaseException as error:
            call.end(error)
            raise
        return _followed(response, call)

    return reported


def _followed(response: Any, call: Call) -> Any:
    """The library's own object, with all that it can; only what it reads is looked at."""
    if is_raw(response) and not response.http_response.is_closed:
        _note_close(response.http_response, call)
        response.parse = _parsing(response.parse, call)
    elif hasattr(response, "_iterator"):
        if call.follows(response):
            _note_close(getattr(response, "response", None), call)
            response._iterator = _pieces(response._iterator, call)
    else:
        call.take(response)
        call.end()
    return response


def _parsing(parse: Callable[..., Any], call: Call) -> Callable[..., Any]:
    """The method `parse` of a raw reply whose body is still to come; in both kinds of clients some are not async."""

    def parsed_later(found: Any) -> Any:
        with call.reading():
            reply = found
        return _followed(reply, call)

    def parsed(*args: Any, **options: Any) -> Any:
        with call.reading():
            found = parse(*args, **options)
        return parsed_later(found) if inspect.isawaitable(found) else _followed(found, call)

    return parsed


def _note_close(http_response: Any, call: Call) -> None:
    """Tells the call when a connection is closed, whoever closes it."""
    close = getattr(http_response, "close", None)
    if close is None:
        return

    def noted() -> None:
        call.closed()
        close()

    http_response.close = noted


def _pieces(items: Iterator[Any], call: Call) -> Iterator[Any]:
    try:
        call.is_reading = True
        for item in items:
            call.is_reading = False
            call.piece(item)
            if call.is_for_the_program(item):
                yield item
            call.is_reading = True
    except BaseException as error:
        call.close()
        call.end(error)
        raise
    call.close()
    call.end()
