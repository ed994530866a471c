"""Which run is the current one: in a block, in the tasks that it starts, and in a thread that is given it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from towerlog.sdk.record.run import BaseRun

P = ParamSpec("P")
T = TypeVar("T")


class Entered:
    """A run that is current until it ends or is left, in whichever context that happens; then what was before is."""

    __slots__ = ("before", "left", "run")

    def __init__(self, run: BaseRun, before: BaseRun | Entered | None) -> None:
        self.run = run
        self.before = before
        self.left = False

    def leave(self) -> None:
        """It is not the current one any more."""
        self.left = True


_current_run: ContextVar[BaseRun | Entered | None] = ContextVar("towerlog_run", default=None)


def current_run() -> BaseRun | None:
    """The run that the calling code is part of, through awaits, tasks and `carry`; None outside of any."""
    found = _lasting()
    return found.run if isinstance(found, Entered) else found


def _lasting() -> BaseRun | Entered | None:
    found = _current_run.get()
    while isinstance(found, Entered) and (found.left or found.run.ended):
        found = found.before
    return found


def enter(run: BaseRun) -> Entered:
    """Makes a run the current one until it ends or is left: for callbacks, which may end in another context."""
    entered = Entered(run, _lasting())
    _current_run.set(entered)
    return entered


@contextlib.contextmanager
def activated(run: BaseRun) -> Iterator[None]:
    """Makes a run the current one inside a block."""
    token = _current_run.set(run)
    try:
        yield
    finally:
        # A block may end in another context than it began in: then there is nothing to reset.
        with contextlib.suppress(ValueError):
            _current_run.reset(token)


def carry(function: Callable[P, T]) -> Callable[P, T]:
    """`function` as a part of the current run, to be called in another thread: `pool.submit(carry(f))`."""
    context = copy_context()

    def carried(*args: P.args, **kwargs: P.kwargs) -> T:
        # A context can only be entered once at a time, and a pool may call this concurrently.
        return context.copy().run(function, *args, **kwargs)

    return carried
