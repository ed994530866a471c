"""What the turns of one session of the Claude Agent SDK have used: each token and each cent once.

A message tells what its call has used so far, which may be less than it will be; the result of a turn tells the sums of
each model, with their cost, over all turns of the session. So a call is told with what its message says, and with the
result what is missing to the sums.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MEMBERS = {
    "inputTokens": "input_tokens",
    "cacheReadInputTokens": "cached_input_tokens",
    "cacheCreationInputTokens": "cache_write_tokens",
    "outputTokens": "output_tokens",
}
"""The names of a model's sums → those of a message's usage, as buckets."""
OF_MESSAGES = {
    "input_tokens": "input_tokens",
    "cache_read_input_tokens": "cached_input_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
    "output_tokens": "output_tokens",
}
COST = "cost_usd"
NANOS = 1_000_000_000


class SessionUsage:
    """The sums of a session."""

    def __init__(self) -> None:
        """Before its first call."""
        self._told: dict[str, dict[str, int]] = {}
        """Model → what was told since the last result."""
        self._sums: dict[str, dict[str, int]] = {}
        """Model → the sums of the last result, the cost among them in nano-dollars."""

    def of_message(self, model: str, usage: Any) -> dict[str, int]:
        """The buckets of a call, which count as told."""
        found = _counts(usage, OF_MESSAGES)
        told = self._told.setdefault(model, {})
        for bucket, tokens in found.items():
            told[bucket] = told.get(bucket, 0) + tokens
        return found

    def missing(self, sums: Any) -> dict[str, dict[str, Any]]:
        """Model → the buckets and the cost that were not told before a turn's result."""
        found: dict[str, dict[str, Any]] = {}
        for model, said in sums.items() if isinstance(sums, Mapping) else ():
            if isinstance(said, Mapping) and (rest := self._rest(str(model), said)):
                found[str(model)] = rest
        self._told.clear()
        return found

    def _rest(self, model: str, said: Mapping[str, Any]) -> dict[str, Any]:
        now, before, told = _sums(said), self._sums.get(model, {}), self._told.get(model, {})
        if any(now.get(name, 0) < amount for name, amount in before.items()):
            # These are the sums of this turn alone.
            before = {}
        self._sums[model] = now
        rest = {name: amount - before.get(name, 0) - told.get(name, 0) for name, amount in now.items()}
        nanos = rest.pop(COST, 0)
        found: dict[str, Any] = {bucket: tokens for bucket, tokens in rest.items() if tokens > 0}
        return {**found, COST: nanos / NANOS} if nanos > 0 else found


def _sums(said: Mapping[str, Any]) -> dict[str, int]:
    cost = said.get("costUSD")
    counts = _counts(said, MEMBERS)
    if isinstance(cost, int | float) and not isinstance(cost, bool) and math.isfinite(cost):
        counts[COST] = round(cost * NANOS)
    return counts


def _counts(usage: Any, names: Mapping[str, str]) -> dict[str, int]:
    given = usage if isinstance(usage, Mapping) else {}
    known = {bucket: given.get(name) for name, bucket in names.items()}
    return {bucket: value for bucket, value in known.items() if type(value) is int and value >= 0}
