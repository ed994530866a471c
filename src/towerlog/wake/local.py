"""The wake of one process: a list of functions, called one after the other."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

import structlog

from towerlog.wake.base import Commit, Listener

_ALWAYS = (None,)
log = structlog.get_logger("towerlog.wake")


class LocalWake:
    """Implements `Wake` where the writer and all who wait live on one event loop. Hands over the events themselves."""

    def __init__(self) -> None:
        """Without listeners."""
        self._listeners: tuple[tuple[Listener, Collection[object], bool], ...] = ()

    def subscribe(
        self, listener: Listener, audience: Collection[object] | None = None, *, of_messages: bool = False
    ) -> None:
        """Adds a listener, for good; `audience` is looked at before each call."""
        self._listeners += ((listener, _ALWAYS if audience is None else audience, of_messages),)

    def committed(self, commit: Commit) -> None:
        """Calls every listener; one that raises is logged."""
        for listener, audience, of_messages in self._listeners:
            if not audience or (of_messages and not commit.messages_of):
                continue
            try:
                listener(commit)
            except Exception:  # the commit stands, and the other listeners wait for it too
                # What broke the listener may break its traceback's text as well; that must not reach the writer.
                with suppress(Exception):
                    log.exception("listener_failed", events=len(commit.events))

    def is_heard(self) -> bool:
        """Whether any audience is there."""
        return any(audience is not _ALWAYS and audience for _, audience, _ in self._listeners)
