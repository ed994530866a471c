"""Commands with a long history of which something was erased after it was stored and before its event was placed.

They leave the writer, are stored again beside it, and wait for their turn anew. Nobody else waits for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from towerlog.engine.commit.queue import Intake
from towerlog.engine.commit.submission import Submission, note_defect
from towerlog.engine.commit.turn import ContentGone
from towerlog.errors import TowerlogError, told_of
from towerlog.model.command import Append, Report
from towerlog.model.principal import Principal

MAX_TIMES_STORED = 8
"""How often the histories of a command are stored again: an erasure came between each time."""
StoredAgain = Callable[[Principal, Append | Report], Awaitable[Append | Report]]


class LostContent:
    """Of one writer."""

    def __init__(
        self, intake: Intake, stored_again: StoredAgain, answer: Callable[[Submission, TowerlogError], None]
    ) -> None:
        """`stored_again` stores the long histories of a command, and gives the command without them; `answer` tells
        who waits for a command what came of it."""
        self._intake = intake
        self._answer = answer
        self._stored_again = stored_again
        self._tasks: set[asyncio.Task[None]] = set()
        """One for each command: as many as requests are under way at most."""

    def store_again(self, submission: Submission) -> None:
        """A command that was taken from the queue; what its items before have come to is in it."""
        task = asyncio.create_task(self._queued_again(submission), name="towerlog-history")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait(self) -> None:
        """Until each was answered, once the writer takes nothing more."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _queued_again(self, submission: Submission) -> None:
        submission.times_stored += 1
        try:
            if submission.times_stored > MAX_TIMES_STORED:
                raise ContentGone(retry_after=1)
            command = submission.command
            if isinstance(command, Append | Report):
                submission.command = await self._stored_again(submission.principal, command)
            self._intake.take_again(submission)
        except TowerlogError as error:
            self._answer(submission, error)
        except Exception as error:  # as in the writer: the one at fault fails, and is answered
            note_defect("command_failed", command=type(submission.command).__name__)
            self._answer(submission, told_of(error))
