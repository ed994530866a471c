"""What of the server's knowledge the log tells: nothing begins anew by it, so what does not hold any more is over."""

from __future__ import annotations

from towerlog.model.lane import Lane


class LogServing:
    """When a moment was, and who has taken work."""

    def __init__(self) -> None:
        """Nothing was."""
        self.now = 0
        self.claims: dict[str, int] = {}
        """Agent → when a worker took a run of it last."""

    def elapsed_ms(self, stamp_ms: int, /) -> int:
        """Since then, as if nothing had kept the server from serving."""
        return max(0, self.now - stamp_ms)

    def since_ms(self, stamp_ms: int, /) -> int:
        """The same: the log knows of no time in which the server may not have heard."""
        return self.elapsed_ms(stamp_ms)

    def serves(self, lane: Lane, within_ms: int, serving_ms: int) -> bool:
        """Whether a worker has taken a run of the same agent within that time."""
        return self.claims.get(lane.agent, -1) >= serving_ms - within_ms

    def is_seen(self, lane: Lane, within_ms: int, serving_ms: int) -> bool:
        """The same: of those that asked and found nothing, the log knows nothing."""
        return self.serves(lane, within_ms, serving_ms)
