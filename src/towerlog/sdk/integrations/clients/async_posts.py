"""Requests of a wrapped asyncio client, and the streams that they return. `posts` is generated from this module."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from towerlog.sdk.integrations.clients.calls import Call, Calls


def async_posts(calls: Calls, post: Callable[..., Any]) -> Callable[..., Any]:
    """The `post` of a client, which reports what it asks models."""

    async def reported(path: str, **options: Any) -> Any:
        call = calls.begin(path, options)
        if call is None:
            return await post(path, **options)
        try:
            response = await post(path, **options)
        except BaseException as error:
            call.end(error)
            raise
        if options.get("stream") and hasattr(response, "_iterator"):
            # The library's own object, with all that it can; only what it reads is looked at.
            response._iterator = _pieces(response._iterator, call)
            return response
        if not options.get("stream"):
            call.take(response)
        call.end()
        return response

    return reported


async def _pieces(items: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:
    try:
        async for item in items:
            call.piece(item)
            if call.is_for_the_program(item):
                yield item
    except BaseException as error:
        call.close()
        call.end(error)
        raise
    call.close()
    call.end()
