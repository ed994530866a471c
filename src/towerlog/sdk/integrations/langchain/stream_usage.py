"""Usage in the pieces of a stream, which LangChain adds up: some servers repeat in each piece what was used so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class StreamUsage:
    """What the pieces of one call have told."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._last: Mapping[str, Any] = {}
        self._told = 0
        self._is_running = True

    def note(self, usage: object) -> None:
        """What a piece tells, if anything."""
        if not isinstance(usage, Mapping) or not any(
            self._count(usage, name) for name in ("input_tokens", "output_tokens")
        ):
            return
        self._is_running = self._is_running and self._goes_on(usage)
        self._told += 1
        self._last = usage

    def of_call(self, added_up: Any) -> Any:
        """What the call has used: the sum, or what was told last where each piece tells all of it."""
        return self._last if self._is_running and self._told > 1 else added_up

    def _goes_on(self, usage: Mapping[str, Any]) -> bool:
        """Whether a piece may tell all that was used so far: the same input again, and no less output than before."""
        sent, before = self._count(usage, "input_tokens"), self._count(self._last, "input_tokens")
        written, earlier = self._count(usage, "output_tokens"), self._count(self._last, "output_tokens")
        return sent > 0 and (not self._last or (sent == before and written >= earlier))

    @staticmethod
    def _count(usage: Mapping[str, Any], name: str) -> int:
        found = usage.get(name)
        return found if isinstance(found, int) else 0
