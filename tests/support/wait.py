"""Waiting in tests: until a condition holds or a deadline has passed, never for a fixed time.

A fixed pause is either too short on a busy machine or too long everywhere else. These two ask again and
again, return what the condition returned, and on failure say what was awaited and what was seen last.
"""

import inspect
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import anyio

T = TypeVar("T")

DEADLINE_S = 60.0
"""How long a condition may take unless a test says otherwise; generous, as it costs nothing when all is well."""

_FIRST_PAUSE_S = 0.001
_SOON_S = 0.05
_MAX_PAUSE_S = 0.25
_SHARE = 0.125
"""Of what it has waited so far: to ask costs a client and a server more than the wait that is saved by it."""


def _pauses() -> Iterator[float]:
    """How long to wait before each further look, the clock being read as it is asked for."""
    began = time.monotonic()
    pause_s = _FIRST_PAUSE_S
    while True:
        yield pause_s
        # Up to twenty looks a second at first, later four.
        pause_s = min(pause_s * 2, max(_SOON_S, _SHARE * (time.monotonic() - began)), _MAX_PAUSE_S)


def wait_until(condition: Callable[[], T], what: str, *, deadline_s: float = DEADLINE_S) -> T:
    """Return the first truthy result of `condition`; raise AssertionError naming `what` after `deadline_s`."""
    ends_at = time.monotonic() + deadline_s
    pauses = _pauses()
    idle = threading.Event()
    while not (seen := condition()):
        if time.monotonic() >= ends_at:
            raise AssertionError(_too_late(what, deadline_s, seen))
        idle.wait(next(pauses))
    return seen


async def wait_until_async(condition: Callable[[], Any], what: str, *, deadline_s: float = DEADLINE_S) -> Any:
    """Like `wait_until`, leaving the event loop free; `condition` may be a plain or an async function."""
    ends_at = time.monotonic() + deadline_s
    pauses = _pauses()
    while not (seen := await _result_of(condition)):
        if time.monotonic() >= ends_at:
            raise AssertionError(_too_late(what, deadline_s, seen))
        await anyio.sleep(next(pauses))
    return seen


async def _result_of(condition: Callable[[], Any]) -> Any:
    result = condition()
    return await result if inspect.isawaitable(result) else result


def _too_late(what: str, deadline_s: float, seen: object) -> str:
    return f"waited {deadline_s:g} s for {what}; the condition last returned {seen!r}"
