"""Waits of a task in which what it holds can be taken from it: it goes on with `Overloaded` where it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from towerlog.asgi.shares.share import Hold, Resource, Share
from towerlog.errors import Overloaded


class LendingWait:
    """A context in which the task waits for something that may take long. It may be left by Overloaded.

    What is awaited in it has to bear being cancelled, as with `asyncio.timeout`, which works in the same way.
    """

    __slots__ = ("_cancelling", "_give_back", "_hold", "_is_taken", "_refusal", "_share", "_task")

    def __init__(
        self,
        share: Share,
        held_bytes: Callable[[], int],
        give_back: Callable[[], None],
        refusal: Callable[[], Overloaded],
    ) -> None:
        """In `share` the task holds so many bytes; `give_back` gives them back, and `refusal` says that they were."""
        self._share = share
        self._give_back = give_back
        self._refusal = refusal
        self._hold: Hold | None = Hold(self._let_go, held_bytes)
        self._is_taken = False
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0

    def __enter__(self) -> None:
        """From here on the bytes can be taken from it."""
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        assert self._hold is not None
        self._share.offer(Resource.BYTES, self._hold)

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        """Raises Overloaded where they were."""
        # The two know each other: what the task holds, a body above all, would wait for the collector with them.
        hold, self._hold = self._hold, None
        task, self._task = self._task, None
        assert hold is not None
        assert task is not None
        self._share.withdraw(Resource.BYTES, hold)
        if self._is_taken and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._refusal() from None

    def _let_go(self) -> None:
        self._is_taken = True
        self._give_back()
        if self._task is not None:
            self._task.cancel()
