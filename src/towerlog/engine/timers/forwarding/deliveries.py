"""How spans get to the collector: one request at a time, which is repeated until there is an answer to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from towerlog.ambient import Clock
from towerlog.dialects.views.otlp_protobuf import rejected, request_of
from towerlog.egress.outcomes import HttpAnswer, Undelivered

DEFAULT_PAUSES = (1, 2, 4, 8, 16, 32, 60)
"""Seconds before each further attempt; then the last of them."""
MAX_ATTEMPTS = 8
"""Of a request that the collector fails at, by a status that OTLP does not have for being busy."""
TOLD_EACH_MS = 600_000
"""How often the log says that a collector is still away."""
REFUSING = frozenset({400, 413, 422})
"""Statuses that are about what was sent: the same is refused again."""
ABSENT = frozenset({401, 403, 404, 405, 407, 408, 415, 421, 426, 429, 502, 503, 504})
"""Statuses that are about the collector, or how it is asked: what was sent waits until that is put right."""

log = structlog.get_logger("towerlog.forwarding")


class Spans(Protocol):
    """Where spans are sent to: `egress.collector.Collector`."""

    host: str

    async def send(self, body: bytes) -> HttpAnswer | Undelivered:
        """Posts a request of OTLP in protobuf. Raises nothing but a cancellation."""
        ...


class Interrupted(Exception):
    """It is not this node that forwards, or not now: what was to be sent is sent again."""


class Deliveries:
    """One for each engine. Whoever has something to send waits for the others, in the order in which they came."""

    def __init__(
        self,
        collector: Spans,
        clock: Clock,
        may_send: Callable[[], bool],
        pauses: Sequence[int] = DEFAULT_PAUSES,
    ) -> None:
        """`may_send`: whether it is this node that forwards."""
        self._collector = collector
        self._clock = clock
        self._may_send = may_send
        self._pauses = pauses
        self._line = asyncio.Lock()
        self._told_at: int | None = None
        """When the log said last that the collector is away, in steady ms; None while it is there."""
        self.sent = 0
        self.refused = 0
        """Spans, since the start."""
        self.failures = 0
        """Attempts that were not answered, or by an error."""

    async def send(self, org_id: str, runs: Sequence[Sequence[bytes]]) -> None:
        """Sends spans of some runs of an organisation; what the collector refuses for good is counted.

        Where it refuses spans of several runs, those of each are sent by themselves. Raises Interrupted.
        """
        if await self._taken(org_id, [one for run in runs for one in run], is_last=len(runs) == 1) or len(runs) == 1:
            return
        for run in runs:
            await self._taken(org_id, run, is_last=True)

    def leave_out(self, count: int) -> None:
        """So many spans cannot be written, and are not sent."""
        self.refused += count

    async def _taken(self, org_id: str, spans: Sequence[bytes], *, is_last: bool) -> bool:
        """Whether they were. `is_last`: they are not sent in another way."""
        answer = await self._answer(request_of(org_id, spans))
        if answer.is_accepted:
            told = rejected(answer.body)
            self._note(len(spans), min(told.spans, len(spans)), told.words)
        elif is_last:
            self._note(len(spans), len(spans), f"answered with {answer.status}")
        return answer.is_accepted

    def _note(self, count: int, refused: int, words: str) -> None:
        self.sent += count - refused
        self.refused += refused
        if refused:
            log.warning("spans_refused", collector=self._collector.host, spans=refused, error=words[:200])

    async def _answer(self, body: bytes) -> HttpAnswer:
        """The answer that settles it. Raises Interrupted."""
        attempt = 0
        async with self._line:
            while self._may_send():
                outcome = await self._collector.send(body)
                attempt += 1
                if _is_settled(outcome, attempt):
                    assert isinstance(outcome, HttpAnswer)
                    self._note_there()
                    return outcome
                self._note_away(outcome)
                await asyncio.sleep(self._pauses[min(attempt, len(self._pauses)) - 1])
        raise Interrupted

    def _note_away(self, outcome: HttpAnswer | Undelivered) -> None:
        self.failures += 1
        now_ms = self._clock.steady_ms()
        if self._told_at is None or now_ms - self._told_at >= TOLD_EACH_MS:
            self._told_at = now_ms
            words = outcome.words if isinstance(outcome, Undelivered) else f"answered with {outcome.status}"
            log.warning("forwarding_waits", collector=self._collector.host, error=words)

    def _note_there(self) -> None:
        if self._told_at is not None:
            self._told_at = None
            log.info("forwarding_goes_on", collector=self._collector.host)


def _is_settled(outcome: HttpAnswer | Undelivered, attempt: int) -> bool:
    if not isinstance(outcome, HttpAnswer):
        return False
    if outcome.is_accepted or outcome.status in REFUSING:
        return True
    return outcome.status not in ABSENT and not 300 <= outcome.status < 400 and attempt >= MAX_ATTEMPTS
