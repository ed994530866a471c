"""The error family: one class per thing that can go wrong, a stable code and a default message each.

The class docstring is the default message that callers get. Nothing here knows HTTP: `status_of` in `dialects/base.py`
gives the default statuses, and each dialect turns an error into its own form.

    TowerlogError
    ├── Malformed            the body cannot be read at all
    ├── Invalid              a field is wrong; names the field
    │   ├── IdReused
    │   └── UnknownBase
    ├── Unauthenticated · NotFound · MethodNotAllowed
    ├── Forbidden
    │   └── CrossSite        a page of another site asks in a person's name
    ├── Conflict
    │   ├── ThreadBusy · RunNotActive · RunEnded · LeaseLost · AlreadyClaimed
    │   ├── NotWaiting · LinkUsed · LinkExpired · AwaitsApproval · QuestionClosed · TooManyQuestions
    │   └── InProgress
    ├── IdempotencyMismatch
    ├── BudgetExceeded       a budget is used up, and lets no run begin
    ├── TooLarge · RateLimited
    ├── Overloaded
    │   └── OutOfMemory      of memory or stack, for one request
    ├── StorageFailed
    │   ├── DiskFull         nothing was stored; reads go on
    │   └── Stopped          the server ends before the answer is there
    └── Internal
        └── Damaged          what is stored is not what was written; names the place

Beside the family stand what keeps a store from being opened: `StoreLocked`, `StoreTorn` and `SchemaMismatch`. No client
sees them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Self, TypeVar

E = TypeVar("E", bound=BaseException)


class TowerlogError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str | None = None,
        *,
        field: str | None = None,
        details: Mapping[str, str] | None = None,
        retry_after: int | None = None,
    ) -> None:
        """`field` is a dotted path such as `events.3.data.thread_id`; `retry_after` is in seconds."""
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.field = field
        self.details: dict[str, str] = dict(details or ({field: self.message} if field else {}))
        self.retry_after = retry_after
        super().__init__(self.message)


class Malformed(TowerlogError):
    """The body is not valid JSON."""

    code = "malformed"


class Invalid(TowerlogError):
    """A field is missing or has a wrong value."""

    code = "validation_failed"


class IdReused(Invalid):
    """This event id was used before in this run, with another body."""

    code = "id_reused"


class UnknownBase(Invalid):
    """The stored history that this checkpoint goes on from is not known; send the whole history."""

    code = "unknown_base"


class Unauthenticated(TowerlogError):
    """The API key is missing or not valid."""

    code = "unauthenticated"


class Forbidden(TowerlogError):
    """The API key lacks the scope that this endpoint needs."""

    code = "forbidden"

    @classmethod
    def lacking(cls, needed: Iterable[str], given: Iterable[str]) -> Self:
        """For a key with the scopes `given`, of which the endpoint wants one of those `needed`."""
        wanted, has = " or ".join(sorted(needed)), ", ".join(sorted(given)) or "none"
        return cls(f"This needs an API key with the scope {wanted}; this key has {has}.")


class CrossSite(Forbidden):
    """A session's cookie changes something only for pages of this server: send `X-Towerlog-Request: 1` from one."""

    code = "auth.csrf"


class NotFound(TowerlogError):
    """There is no such object."""

    code = "not_found"

    def __init__(self, kind: str, message: str | None = None) -> None:
        """`kind` is the noun that was looked for: `run`, `thread`, `agent`, `checkpoint`, `route`, `key`."""
        self.kind = kind
        super().__init__(message or f"There is no such {kind}.")


class MethodNotAllowed(TowerlogError):
    """This path does not take this method."""

    code = "method_not_allowed"


class Conflict(TowerlogError):
    """The object's state does not allow this."""

    code = "conflict"


class ThreadBusy(Conflict):
    """The thread has a run that has not ended."""

    code = "thread_busy"


class RunNotActive(Conflict):
    """The run is not active."""

    code = "run_not_active"


class RunEnded(Conflict):
    """The run has ended."""

    code = "run_ended"


class LeaseLost(Conflict):
    """This worker does not hold the run's lease."""

    code = "lease_lost"


class AlreadyClaimed(Conflict):
    """Another worker holds the run's lease."""

    code = "already_claimed"


class NotWaiting(Conflict):
    """This checkpoint is not waiting for approval."""

    code = "not_waiting"


class LinkUsed(Conflict):
    """This link was used before."""

    code = "link_used"


class LinkExpired(Conflict):
    """This link has expired."""

    code = "link_expired"


class AwaitsApproval(Conflict):
    """The run waits for an approval, which an input does not give."""

    code = "awaits_approval"


class TooManyQuestions(Conflict):
    """The run has as many open questions as one may have; this one was not stored, so nobody can answer it."""

    code = "too_many_questions"


class QuestionClosed(Conflict):
    """The run's question is not open any more."""

    code = "question_closed"


class InProgress(Conflict):
    """The first request with this Idempotency-Key is still being answered."""

    code = "in_progress"
    retryable = True


class IdempotencyMismatch(TowerlogError):
    """This Idempotency-Key was used before with another request body."""

    code = "idempotency_mismatch"


class BudgetExceeded(TowerlogError):
    """The budget is used up."""

    code = "budget.exceeded"


class TooLarge(TowerlogError):
    """The request is larger than this server accepts."""

    code = "too_large"


class RateLimited(TowerlogError):
    """Too many requests."""

    code = "rate_limited"
    retryable = True


class Overloaded(TowerlogError):
    """The server has more work than it can hold; nothing was stored."""

    code = "overloaded"
    retryable = True


class OutOfMemory(Overloaded):
    """The server had not the memory for this request; what of it was stored is unknown. Ask again."""

    code = "out_of_memory"


class StorageFailed(TowerlogError):
    """The storage refused to take the write; whether it was stored is unknown."""

    code = "storage_failed"
    retryable = True
    fatal = False
    """The disk has failed, or what it holds is damaged. Of a write: nothing more may be written in this process, since
    only a restart shows what is on disk; unless `is_damage`."""
    is_damage = False
    """The pages that it needed are damaged, and nothing of it was stored: what needs other pages can be."""
    is_lack = False
    """There was no descriptor or no memory to look at the store: that says nothing of what is there."""
    is_unread = False
    """The disk has failed the read itself: that says nothing of what is there either, if it is there."""
    exit_code: ClassVar[int] = 70
    """Exit code of a process stopped by this error. After a restart, the open checks what is on disk."""


class DiskFull(StorageFailed):
    """There is too little room on the server's disk; nothing was stored."""

    code = "disk.full"


class StoreMoved(StorageFailed):
    """The files of the store are not where they were opened; it passes when they are put back."""

    code = "store_moved"


class Stopped(StorageFailed):
    """The server stopped before this was done; what of it was stored is unknown. Ask again."""

    code = "stopped"


class Internal(TowerlogError):
    """The server failed unexpectedly."""

    code = "internal"


class Damaged(Internal):
    """What is stored of this was damaged; the server's operator has to restore a backup."""

    code = "damaged"


EXHAUSTED = (MemoryError, RecursionError)
"""What says that there was too little memory, or stack, for one piece of work; the next may find enough."""


def told_of(fault: BaseException) -> TowerlogError:
    """What a caller is told of whatever went wrong."""
    if isinstance(fault, TowerlogError):
        return fault
    return OutOfMemory(retry_after=1) if isinstance(fault, EXHAUSTED) else Internal()


class StoreLocked(Exception):
    """Another process has this store open for writing."""


class StoreTorn(Exception):
    """The files of this store do not belong together: one is missing, empty, or another store's."""


class SchemaMismatch(Exception):
    """The database's schema is not one that this version can work with."""


class UnfitServer(Exception):
    """The installed HTTP server (uvicorn) does not work the way that Towerlog relies on; the start is refused."""


def cause(error: BaseException) -> str:
    """What kind of an error it is, and what it says, for logs and messages."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def without_trace(error: E) -> E:
    """An error that is kept as a value: without its traceback. That holds the frame that keeps it, which closes a
    cycle, and then what the frames know, such as a request's body, stays until a full collection."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error
