"""What delivery needs from its recorder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from towerlog.sdk.record.backlog.losses import Range
from towerlog.sdk.wire.event_batch import Transport

MAX_PAUSE_S = 30.0
"""The longest pause between two tries; also the pause after each rejection of the key."""


@dataclass(frozen=True)
class Hooks:
    """What delivery needs from its recorder."""

    open_transport: Callable[[], Transport]
    going_on: Callable[[], list[str]]
    beat: Callable[[], None]
    commanded: Callable[[dict[str, Any]], bool]
    """Hands a command to its run; whether it was new to that."""
    notice: Callable[[Range], bytes]
    nameless: Callable[[], bool]
    """Whether there is a run whose id at the server is not known yet."""
    named: Callable[[str, str], None]
    """Called with the key of a run and its id, when an event of it has been stored."""
    with_older_base: Callable[[str, bytes], bytes | None]
    why_not: str | None
    """Why nothing can be sent; None if it can. If not, what ended processes have left stays where it is as well."""
    longest_pause_s: float = MAX_PAUSE_S

    @property
    def delivers(self) -> bool:
        """Whether there is somewhere to send to."""
        return self.why_not is None
