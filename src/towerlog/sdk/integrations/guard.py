"""What stands between a framework and an adapter: nothing of ours is raised into the framework but a cancel."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from towerlog.sdk.record.commands import RunCancelled

P = ParamSpec("P")
R = TypeVar("R")

MAX_SAID = 100
"""Different failures of one adapter that are logged."""

_log = logging.getLogger("towerlog.sdk")


class Guard:
    """Logs each kind of failure once, so that one in a callback of every token does not fill the log."""

    def __init__(self, adapter: str) -> None:
        """`adapter`: its name, for the log."""
        self._adapter = adapter
        self._said: set[str] = set()

    def failed(self, doing: str, error: Exception) -> None:
        """An adapter has failed at something: what it would have reported is missing, and the program goes on."""
        kind = f"{doing} {type(error).__name__}"
        if kind not in self._said and len(self._said) < MAX_SAID:
            self._said.add(kind)
            _log.error("%s: %s could not be reported; this is logged once", self._adapter, doing, exc_info=error)


def guarded(method: Callable[P, R]) -> Callable[P, R | None]:
    """A method of an object that has a `guard`, which raises nothing but RunCancelled; None where it has failed."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return method(*args, **kwargs)
        except RunCancelled:
            raise
        except Exception as error:
            owner: Any = args[0]
            owner.guard.failed(getattr(method, "__name__", "a callback"), error)
            return None

    return call
