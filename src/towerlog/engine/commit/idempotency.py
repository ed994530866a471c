"""Questions under an Idempotency-Key: what is worked out beside the writer is answered once, and its reply repeated.

Most commands keep what a repeat is told in the commit that carries them out. What only reads, or writes in several
commits, keeps its reply in a commit of its own, after all that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from towerlog.engine.commit.replies import InFlight
from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.plan import Plan
from towerlog.model import outcome as o
from towerlog.model.command import Idempotency, KeepReply
from towerlog.model.principal import Principal

T = TypeVar("T")
Submit = Callable[[Principal, KeepReply, str, Idempotency], Awaitable[o.Placed | o.Replayed]]


class AnsweredOnce:
    """What is being answered, and how a reply is kept."""

    def __init__(self, submit: Submit) -> None:
        """`submit` hands a command to the writer."""
        self._submit = submit
        self._in_flight = InFlight()

    async def answer(
        self, principal: Principal, dialect: str, idempotency: Idempotency, work: Callable[[], Awaitable[T]]
    ) -> T | o.Replayed:
        """The outcome of the work, or the reply that was kept of it. Raises InProgress, IdempotencyMismatch, and what
        the work raises: nothing is kept then."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._in_flight.enter(done, principal, idempotency)
        try:
            known = await self._submit(principal, KeepReply(), dialect, idempotency)
            if isinstance(known, o.Replayed):
                return known
            outcome = await work()
            await self._submit(principal, KeepReply(*idempotency.encode(outcome)), dialect, idempotency)
            return outcome
        finally:
            done.set_result(None)


def needs_of_reply(_needs: Needs, _principal: Principal, _command: KeepReply) -> None:
    """The reply that is known under the key, which every command with one needs."""


def keep_reply(_plan: Plan, _principal: Principal, command: KeepReply) -> o.ReplyKept:
    """What is to be kept; it stands in the commit with the key."""
    return o.ReplyKept(command.status, command.body)
