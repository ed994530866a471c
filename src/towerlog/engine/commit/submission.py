"""A command on its way through the writer, and who is told what came of it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Protocol

import msgspec
import structlog

from towerlog.errors import TowerlogError
from towerlog.model.command import Append, Idempotency, Report, Write
from towerlog.model.outcome import Placed, Replayed
from towerlog.model.principal import Principal

log = structlog.get_logger("towerlog.writer")


class Waiter(Protocol):
    """Who is told of an outcome, once it is durable: a future, or what stands for one."""

    def cancelled(self) -> bool:
        """Whether nobody waits any more: then it need not be done."""
        ...

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


def name_of(idempotency: Idempotency) -> str:
    """Route and key together."""
    return f"{idempotency.route}\n{idempotency.key}"


def items_of(command: Write) -> int:
    """How much room a command takes in a group."""
    return len(command.items) if isinstance(command, Append | Report) else 1


def note_defect(event: str, **fields: object) -> None:
    """Logs the exception under way. What broke the command may break its description too; that ends nothing."""
    with suppress(Exception):
        log.exception(event, **fields)


def answer(submission: Submission, outcome: Placed | Replayed | TowerlogError) -> None:
    """Tells its waiter, if that still waits."""
    try:
        if submission.waiter.done():
            return
        if isinstance(outcome, TowerlogError):
            submission.waiter.set_exception(outcome)
        else:
            submission.waiter.set_result(outcome)
    except Exception:  # one that cannot be told must neither keep the others waiting nor have them carried out again
        note_defect("answer_failed", command=type(submission.command).__name__)


def fail(group: list[Submission], error: TowerlogError) -> None:
    """Tells all of them the same."""
    for submission in group:
        answer(submission, error)
