"""A command on its way through the writer, and who is told what came of it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import msgspec
import structlog

from towerlog.engine.commit.load import Needs
from towerlog.model.command import Append, CreateRun, Finish, Idempotency, Report, Write
from towerlog.model.event import Draft
from towerlog.model.outcome import Replayed
from towerlog.model.principal import Principal
from towerlog.store.values import Kind, StoredReply

log = structlog.get_logger("towerlog.writer")
T = TypeVar("T")


Steps = Generator[None, None, T]
"""Placing of a long command: it yields where the event loop may go on with something else, and returns the outcome."""


class Waiter(Protocol):
    """Who is told of an outcome, once it is durable: a future, or what stands for one and cannot be cancelled."""

    def done(self) -> bool:
        """Whether it has been told."""
        ...

    def set_result(self, outcome: Any, /) -> None:
        """A `Placed` or `Replayed`; it is durable. Must not raise."""
        ...

    def set_exception(self, error: BaseException, /) -> None:
        """It was refused, or something broke. Must not raise."""
        ...


class Submission(msgspec.Struct, eq=False):
    """A command that waits for its commit."""

    principal: Principal
    command: Write
    dialect: str
    waiter: Waiter
    idempotency: Idempotency | None = None
    items: int = 1
    size: int = 0
    """Bytes of its events."""


def measured(command: Write) -> tuple[int, int]:
    """How many items a command has, and how many bytes of events."""
    if isinstance(command, Append | Report):
        items = command.items
        return len(items), sum([_bytes_of(item) for item in items if type(item) is Draft])
    if isinstance(command, CreateRun):
        return 1, len(command.input or b"") + len(command.metadata or b"")
    return 1, len(command.draft.data) if isinstance(command, Finish) else 0


def _bytes_of(draft: Draft) -> int:
    history = draft.history
    return len(draft.data) if history is None else len(draft.data) + sum(map(len, history.messages))


def name_of(idempotency: Idempotency) -> str:
    """Route and key together."""
    return f"{idempotency.route}\n{idempotency.key}"


def note_defect(event: str, **fields: object) -> None:
    """Logs the exception under way. What broke the command may break its description too; that ends nothing."""
    with suppress(Exception):
        log.exception(event, **fields)


def needs_with_reply(needs: Needs, needs_of: Callable[..., None], submission: Submission) -> None:
    """What a command with an Idempotency-Key needs: also the reply that was kept."""
    if submission.idempotency is not None:
        needs.want(Kind.REPLY, (submission.principal.org, name_of(submission.idempotency)))
    needs_of(needs, submission.principal, submission.command)


def replayed(known: StoredReply) -> Replayed:
    """The outcome of a command that was answered before."""
    return Replayed(known.status, known.body, known.run, known.lease_epoch, known.ids)
