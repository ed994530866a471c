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


class Active:
    """A run that is the current one from here on, until it ends or is left: in whichever thread, task or context."""

    __slots__ = ("left", "outer", "run")

    def __init__(self, run: BaseRun) -> None:
        """Makes it the current one of this context."""
        self.run = run
        self.left = False
        self.outer = _inmost()
        """What it stands in, so without anything that was left: a context that never sees an end keeps none of them."""
        _inmost_of.set(self)

    def now(self) -> BaseRun | None:
        """The run that it stands for here; None once that has ended or was left."""
        return None if self.left or self.run.ended else self.run

    def leave(self) -> None:
        """It is no longer current anywhere; what was entered inside it and is not left stays current."""
        self.left = True
        _inmost_of.set(_inmost())


_inmost_of: ContextVar[Active | None] = ContextVar("towerlog_run", default=None)


def _inmost() -> Active | None:
    found = _inmost_of.get()
    while found is not None and found.now() is None:
        found = found.outer
    return found


def current_run() -> BaseRun | None:
    """The run that the calling code is part of, through awaits, tasks and `carry`; None outside of any.

    A run whose block was left is nobody's any more, even where it was left in another thread or task.
    """
    found = _inmost()
    return None if found is None else found.now()


def called_outside(kind: type[Active], function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Calls a function where no run is current that was made so by this kind."""
    found = _inmost()
    while found is not None and (isinstance(found, kind) or found.now() is None):
        found = found.outer
    token = _inmost_of.set(found)
    try:
        return function(*args, **kwargs)
    finally:
        _inmost_of.reset(token)


def called_in(run: BaseRun, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Calls a function as a part of a run. What it starts stays so until the run ends, however soon it returns."""

    def call() -> T:
        Active(run)
        return function(*args, **kwargs)

    return copy_context().run(call)


@contextlib.contextmanager
def activated(run: BaseRun) -> Iterator[None]:
    """Makes a run the current one inside a block; afterwards what was current before is so again."""
    before = _inmost_of.get()
    active = Active(run)
    try:
        yield
    finally:
        active.left = True
        # A block may end in another context than it began in: what is current there is none of its business.
        if _is_in(active):
            _inmost_of.set(before)


def _is_in(active: Active) -> bool:
    """Whether this context is inside it."""
    found = _inmost_of.get()
    while found is not None and found is not active:
        found = found.outer
    return found is not None


def carry(function: Callable[P, T]) -> Callable[P, T]:
    """`function` as a part of the current run, to be called in another thread: `pool.submit(carry(f))`."""
    context = copy_context()

    def carried(*args: P.args, **kwargs: P.kwargs) -> T:
        # A context can only be entered once at a time, and a pool may call this concurrently.
        return context.copy().run(function, *args, **kwargs)

    return carried
