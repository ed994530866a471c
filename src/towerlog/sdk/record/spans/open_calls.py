"""Calls of tools and models of a run that are open, and the responses of models that it has told."""

from __future__ import annotations

import time
from typing import Protocol

MAX_OPEN = 10_000
"""Calls that are remembered while they are open, to be told as interrupted at the run's end."""
MAX_RESPONSES = 1_000
"""Ids of responses that are remembered, the last ones."""


class OpenCall(Protocol):
    """A call that goes on."""

    def interrupt(self, reason: object = "interrupted") -> None:
        """Reports that it was given up."""


class OpenCalls:
    """Open calls of one run. May be used from any thread."""

    def __init__(self) -> None:
        """Starts without open calls."""
        self._open: dict[int, OpenCall] = {}
        self._responses: dict[str, tuple[int, str]] = {}
        """Id of a response → when it was told, and by which reader."""

    def began(self, call: OpenCall) -> None:
        """Notes a call that has begun: if the run ends before it, it was interrupted."""
        self._open[id(call)] = call
        if len(self._open) > MAX_OPEN:
            # Another thread may have taken the first one meanwhile.
            self._open.pop(next(iter([*self._open])), None)

    def ended(self, call: OpenCall) -> None:
        """Notes its end."""
        self._open.pop(id(call), None)

    def interrupt(self, reason: str) -> None:
        """The run ends: so do they, the last one first."""
        for call in reversed([*self._open.values()]):
            call.interrupt(reason)

    def is_first(self, response_id: str | None, reader: str, began_ns: int) -> bool:
        """Whether no other reader has told this response of a model while the call that began then went on: a client
        and the framework that calls it may both tell it. True where its id is unknown.

        A later call with the same id is another one: there are gateways that give all their responses one id.
        """
        if response_id is None:
            return True
        told_ns, by = self._responses.pop(response_id, (-1, reader))
        if told_ns >= began_ns and by != reader:
            return False
        self._responses[response_id] = time.monotonic_ns(), reader
        if len(self._responses) > MAX_RESPONSES:
            self._responses.pop(next(iter([*self._responses])), None)
        return True
