"""A command on its way through the writer, and who is told what came of it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Protocol

import msgspec
import structlog

from towerlog.model.command import Idempotency, Write
from towerlog.model.principal import Principal

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


def note_defect(event: str, **fields: object) -> None:
    """Logs the exception under way. What broke the command may break its description too; that ends nothing."""
    with suppress(Exception):
        log.exception(event, **fields)
