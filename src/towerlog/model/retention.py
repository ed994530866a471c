"""Retention: how long an organisation keeps what, and the erasure of a run or a thread at once.

Nothing is erased unless somebody asks for it: an organisation begins without policies. Figures are never erased.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from towerlog.model.facts import Erases
from towerlog.model.run import RunRow

MIN_AGE_MS = 60_000
"""Of a policy."""
MAX_AGE_MS = 100 * 366 * 24 * 3_600_000
MAX_BYTES = 1 << 50
MAX_ERASED_RUNS = 1000
"""Runs that one request erases; more are refused, and erased by retention or one after the other."""


class RetentionPolicy(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How long an organisation keeps one kind of content of runs that have ended. At least one bound is set."""

    org: int
    kind: Erases
    max_age_ms: int | None = None
    """Since the run's end, by the server's clock."""
    max_bytes: int | None = None
    """As stored; above it the runs that have ended first go first."""
    updated_at: int = 0
    updated_by: str | None = None
    """A user id."""


class FreedBytes(NamedTuple):
    """What one step of an erasure has freed of what was held: of deltas, of events that brought a checkpoint, of all
    events, and of the content store. In bytes as stored."""

    deltas: int = 0
    checkpoints: int = 0
    events: int = 0
    content: int = 0


NOTHING_FREED = FreedBytes()


class Erasing(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An erasure that was told and is being carried out: what is left to do, and what was done."""

    run: int
    org: int
    scope: Erases
    until_seq: int
    """The seq of the event that tells it: all before that is erased."""
    run_id: str = ""
    after_seq: int = 0
    """Up to which event it is done."""
    nodes: tuple[str, ...] = ()
    metas: tuple[str, ...] = ()
    """Hex keys of content that nothing of this run points at any more; it goes unless something else does."""
    replies_after: str | None = None
    counts: dict[str, tuple[int, int]] = {}
    """Kind → how many, and their bytes as stored."""
    is_done: bool = False
    freed: FreedBytes = NOTHING_FREED
    """By the last step."""

    def with_freed(self, **more: int) -> Erasing:
        """With so many more bytes freed by this step, of each kind."""
        freed = self.freed
        return msgspec.structs.replace(
            self, freed=freed._replace(**{kind: getattr(freed, kind) + size for kind, size in more.items()})
        )

    def counted(self, kind: str, count: int, size: int) -> Erasing:
        """With so many more erased."""
        if not count:
            return self
        known = self.counts.get(kind, (0, 0))
        return msgspec.structs.replace(self, counts={**self.counts, kind: (known[0] + count, known[1] + size)})


class HeldBytes(NamedTuple):
    """What a stretch of the log holds that may be erased, as it is stored."""

    until: int
    """The position up to which was counted."""
    deltas: int = 0
    checkpoints: int = 0
    events: int = 0


def holds(row: RunRow) -> tuple[Erases, ...]:
    """What a run has left to erase; nothing of one that has not ended."""
    if not row.is_terminal():
        return ()
    found = []
    if row.output_at is not None and (row.deltas_erased_at is None or row.output_at > row.deltas_erased_at):
        found.append(Erases.DELTAS)
    if row.latest_step() is not None and row.checkpoints_erased_at is None:
        found.append(Erases.CHECKPOINTS)
    if row.last_seq > row.erased_seq:
        found.append(Erases.EVENTS)
    return tuple(found)


# Commands, and what they give


class SetRetention(msgspec.Struct, frozen=True, gc=False):
    """Sets the maximum age (ms) and size (bytes) of one kind."""

    kind: Erases
    max_age_ms: int | None
    max_bytes: int | None


class ClearRetention(msgspec.Struct, frozen=True, gc=False):
    """Keep a kind for ever."""

    kind: Erases


class RetentionNow(msgspec.Struct, frozen=True, gc=False):
    """A policy as it is now, or was before it was cleared."""

    row: RetentionPolicy
    created: bool = False


class MarkErased(msgspec.Struct, frozen=True, gc=False):
    """Tell in a run's log that its content is erased from now on."""

    run_id: str


class MarkThreadErased(msgspec.Struct, frozen=True, gc=False):
    """Take away the title of a thread whose runs are erased."""

    thread_id: str


class ListRetention(msgspec.Struct, frozen=True, gc=False):
    """All policies."""


class GetRetention(msgspec.Struct, frozen=True, gc=False):
    """One policy."""

    kind: Erases


class RunRetention(msgspec.Struct, frozen=True, gc=False):
    """What the policies would erase now; unless it is a dry run that begins at once. `policy`, of a dry run: only what
    that one would erase, were it set."""

    dry_run: bool
    policy: SetRetention | None = None


class EraseRun(msgspec.Struct, frozen=True, gc=False):
    """Erase the content of a run, and of all runs below it."""

    run_id: str
    children: bool = False


class EraseThread(msgspec.Struct, frozen=True, gc=False):
    """Erase the content of all runs of a thread, and its title; with those below them in other threads."""

    thread_id: str
    children: bool = False


class Policies(msgspec.Struct, frozen=True, gc=False):
    """All policies of an organisation, by kind."""

    rows: list[RetentionNow]


class RetentionDue(NamedTuple):
    """What one policy would erase."""

    policy: RetentionPolicy
    runs: int
    has_more: bool
    """There are more than were counted."""
    oldest_at: int | None
    """When the first of these runs ended, wall ms."""
    held_bytes: int | None
    """What is held of this kind, as stored; None where the policy has no bound of bytes."""


class RetentionPass(msgspec.Struct, frozen=True, gc=False):
    """What the policies would erase, or have begun to."""

    due: list[RetentionDue]


class ErasedRun(NamedTuple):
    """A run that was erased."""

    run_id: str
    counts: dict[str, tuple[int, int]]


class ErasureReport(msgspec.Struct, frozen=True, gc=False):
    """What one request has erased; durable when it is given."""

    runs: list[ErasedRun]
    thread_id: str | None = None
    erased_at: int = 0


MarkCommand = SetRetention | ClearRetention | MarkErased | MarkThreadErased
"""Of these, those that write by themselves."""
Erase = EraseRun | EraseThread | RunRetention
"""What takes several commits."""
RetentionRead = ListRetention | GetRetention
RetentionOutcome = RetentionNow | Policies | RetentionPass | ErasureReport
