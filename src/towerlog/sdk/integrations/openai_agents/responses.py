"""Responses as OpenAI's client has them, for the run of the Agents SDK in which they were asked for.

The SDK's own object of a response has no terms of it, and for one that has failed there is none. So the two methods of
the client by which the SDK asks are replaced in their classes; outside of runs of the SDK they do what they did.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

MARK = "_towerlog_original"

_hooks_of: ContextVar[Any] = ContextVar("towerlog_agents_hooks", default=None)
"""The hooks of the run that goes on here."""


@contextlib.contextmanager
def hearing(hooks: Any) -> Iterator[None]:
    """Inside of it, and in the tasks that it starts, responses are heard by these hooks."""
    token = _hooks_of.set(hooks)
    try:
        yield
    finally:
        _hooks_of.reset(token)


def hooks_here() -> Any:
    """The hooks of the run of the SDK that goes on here; None outside of any."""
    return _hooks_of.get()


def hear_responses() -> None:
    """Replaces the methods, once. Needs the package `openai`, as the SDK does."""
    from openai.resources.chat.completions import AsyncCompletions
    from openai.resources.responses import AsyncResponses

    resources: tuple[Any, ...] = (AsyncResponses, AsyncCompletions)
    for resource in resources:
        if not hasattr(resource, MARK):
            setattr(resource, MARK, resource.create)
            resource.create = _heard(resource.create)


def _heard(create: Any) -> Any:
    @functools.wraps(create)
    async def create_heard(*args: Any, **options: Any) -> Any:
        response = await create(*args, **options)
        hooks = _hooks_of.get()
        if hooks is not None and hasattr(response, "_iterator"):
            # The library's own stream, with all that it can; only what it reads is looked at.
            response._iterator = _heard_pieces(response._iterator, hooks)
        elif hooks is not None:
            hooks.heard(response)
        return response

    return create_heard


async def _heard_pieces(items: AsyncIterator[Any], hooks: Any) -> AsyncIterator[Any]:
    async for item in items:
        hooks.heard(item)
        yield item
