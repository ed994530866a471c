"""A command on its way through the writer, and who is told what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

import msgspec
import structlog

from towerlog.engine.load.rows import Needs, NeedsSteps
from towerlog.errors import TowerlogError, told_of
from towerlog.model.command import (
    Append,
    CreateRun,
    Finish,
    GiveInput,
    Idempotency,
    KeepContent,
    KeepReply,
    Report,
    Write,
)
from towerlog.model.event import Draft
from towerlog.model.pending import text_bytes
from towerlog.model.persona import CreatePersona
from towerlog.model.principal import Principal
from towerlog.model.texts import bytes_of
from towerlog.store.values import Kind

log = structlog.get_logger("towerlog.writer")


class Waiter(Protocol):
    """Who is told of an outcome, once it is durable: a future, or what stands for one and cannot be cancelled."""

    def done(self) -> bool:
        """Whether it has been told."""
        ...

    def set_result(self, outcome: Any, /) -> None:
        """A `Placed` or `Replayed`; it is durable. Must not raise."""
        ...

    def set_exception(self, error: BaseException, /) -> None:
        """Called when the command was refused or failed. Must not raise."""
        ...


class Submission(msgspec.Struct, eq=False):
    """A command that waits for its commit."""

    principal: Principal
    command: Write
    dialect: str
    waiter: Waiter
    idempotency: Idempotency | None = None
    work: int = 0
    """Of placing and writing it, in plain events; 0 until it is queued."""
    size: int = 0
    """Bytes of its events."""
    is_begun: bool = False
    """It was taken before: some of it may be durable."""
    is_large: bool = False
    """It is more than one group does, or the group before had no room for the rest of it: it is placed in parts."""
    ends: int = 0
    """Where it ends in the work done of all organisations; told when it is taken."""
    times_stored: int = 0
    """How often its long histories were stored again."""
    came_at: int = 0
    """How many commits had ended when it came."""
    address: str | None = None
    """Where it came from, for the audit."""


def measured(command: Write) -> int:
    """How many bytes a command has to be written, of the bodies and texts that may be long."""
    if isinstance(command, Append | Report):
        return sum([_bytes_of(item) for item in command.items if type(item) is Draft])
    if isinstance(command, Finish):
        return _bytes_of(command.draft)
    if isinstance(command, KeepContent):
        return sum([len(part.body) for part in command.parts])
    if isinstance(command, KeepReply):
        return len(command.body)
    if isinstance(command, CreateRun):
        return len(command.input or b"") + len(command.metadata or b"")
    if isinstance(command, GiveInput):
        return text_bytes(command.content)
    if isinstance(command, CreatePersona):
        return text_bytes(command.instructions or "") + len(command.model_settings)
    return 0


def _bytes_of(draft: Draft) -> int:
    history = draft.history
    if history is None or history.stored is not None:
        return len(draft.data)
    return len(draft.data) + bytes_of(history.messages) + bytes_of(history.meta or ())


def name_of(idempotency: Idempotency) -> str:
    """Route and key together."""
    return f"{idempotency.route}\n{idempotency.key}"


def note_defect(event: str, **fields: object) -> None:
    """Logs the exception under way. What broke the command may break its description too; that ends nothing."""
    with suppress(Exception):
        log.exception(event, **fields)


async def singly(
    group: list[Submission],
    error: Exception,
    write: Callable[[list[Submission]], Awaitable[None]],
    fail: Callable[[list[Submission], TowerlogError], None],
) -> None:
    """After a defect that spoiled a whole group: each command alone, so that only the one at fault fails."""
    if len(group) <= 1:
        fail(group, told_of(error))
        return
    for submission in group:
        try:
            await write([submission])
        except Exception as own:  # as for the group
            note_defect("command_failed", command=type(submission.command).__name__)
            fail([submission], told_of(own))


def needs_with_reply(needs: Needs, needs_of: Callable[..., NeedsSteps], submission: Submission) -> NeedsSteps:
    """What a command with an Idempotency-Key needs: also the reply that was kept."""
    if submission.idempotency is not None:
        needs.want(Kind.REPLY, (submission.principal.org, name_of(submission.idempotency)))
    return needs_of(needs, submission.principal, submission.command)
