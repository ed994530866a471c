"""What the turns of a session of the Claude Agent SDK have used: each token and each cent once.

A message tells what its call has used so far, which may be less than it will be; the result of a turn tells the sums of
each model, with their cost, over all turns of the session. So a call is told with what its message says, and with the
result what is missing to the tokens. The cost of the turn is told as that of its runs as a whole, which takes the place
of what the server computes for their calls.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
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
WEIGHTS = {"input_tokens": 100, "cached_input_tokens": 10, "cache_write_tokens": 125, "output_tokens": 500}
"""What a token costs of each kind, compared with the others: by this the cost of a turn is divided among its runs."""
COST = "cost_usd"
NANOS = 1_000_000_000
MAX_SESSIONS = 1_000
"""Sessions whose sums are remembered, the last ones."""

Told = dict[str, dict[str, int]]
"""Model → bucket → tokens."""


class TurnUsage:
    """What a turn has used by its result."""

    def __init__(self, told: Told, sums: Told, cost_nanos: int | None, costs: Mapping[str, int]) -> None:
        """`told`: by its messages, `sums`: by its result, `costs`: of each model, in nano-dollars."""
        self.cost_nanos = cost_nanos
        beyond = ((model, _beyond(said, told.get(model, {}))) for model, said in sums.items())
        self.rest: Told = {model: rest for model, rest in beyond if rest}
        """What the messages have not told."""
        whole = {model: added(told.get(model, {}), self.rest.get(model, {})) for model in told.keys() | sums.keys()}
        self._weights = {model: _weight(tokens) for model, tokens in whole.items()}
        self._parts = dict(costs) if any(costs.values()) else self._weights
        parts = {model: self._parts.get(model, 0) for model in whole}
        self.model = max(parts, key=lambda model: parts[model]) if parts else None
        """The one that cost most."""

    def cost_of(self, told: Told) -> int:
        """What of the turn's cost falls to calls that were told so, in nano-dollars."""
        part = sum(
            (
                Fraction(self._parts.get(model, 0) * _weight(tokens), self._weights[model])
                for model, tokens in told.items()
                if self._weights.get(model)
            ),
            Fraction(0),
        )
        all_of_it = sum(self._parts.values())
        return math.floor(part * (self.cost_nanos or 0) / all_of_it) if all_of_it else 0


class SessionUsage:
    """The sums of a session, by its last result."""

    def __init__(self) -> None:
        """Before its first result."""
        self._sums: Told = {}
        self._costs: dict[str, int] = {}
        self._cost: int | None = None

    def turn(self, told: Told, sums: Any, cost_usd: Any) -> TurnUsage:
        """What the turn of a result has used; `told`: by its messages, the others as the result has them."""
        now, costs, cost = _sums(sums), _costs(sums), _nanos(cost_usd)
        before = self if self._goes_on(told, now, costs, cost) else SessionUsage()
        more = {model: _less(said, before._sums.get(model, {})) for model, said in now.items()}
        of_models = {model: nanos - before._costs.get(model, 0) for model, nanos in costs.items()}
        of_turn = None if cost is None else cost - (before._cost or 0)
        if cost is None and of_models:
            of_turn = sum(of_models.values())
        self._sums, self._costs, self._cost = now or before._sums, costs or before._costs, cost
        return TurnUsage(told, more, of_turn, of_models)

    def _goes_on(self, told: Told, now: Told, costs: Mapping[str, int], cost: int | None) -> bool:
        """Whether these are sums of the session; else they are of the turn alone."""
        if cost is not None and cost < (self._cost or 0):
            return False
        if not now:
            return not (told and cost is not None and cost == self._cost)
        if any(costs.get(model, 0) < nanos for model, nanos in self._costs.items()):
            return False
        if any(
            now.get(model, {}).get(name, 0) < one for model, said in self._sums.items() for name, one in said.items()
        ):
            return False
        # Of both, what is nearer to what the messages have told: their input is told in full. A model that none of them
        # names, and that has been called before, is one that the session has called.
        alone = session = 0
        for model, said in now.items():
            for bucket in WEIGHTS.keys() - {"output_tokens"}:
                more = said.get(bucket, 0) - told.get(model, {}).get(bucket, 0)
                alone += abs(more)
                session += abs(more - self._sums.get(model, {}).get(bucket, 0))
        return session < alone or not told.keys() & now.keys()


class Sessions:
    """The sums of the sessions of a process: more than one object may report the turns of one."""

    def __init__(self) -> None:
        """None yet."""
        self._kept: dict[str, SessionUsage] = {}

    def of(self, session_id: object) -> SessionUsage:
        """Those of a session; before its first result none."""
        if not isinstance(session_id, str) or not session_id:
            return SessionUsage()
        found = self._kept.pop(session_id, None) or SessionUsage()
        self.keep(session_id, found)
        return found

    def keep(self, session_id: object, usage: SessionUsage) -> None:
        """Remembers the sums of a session."""
        if isinstance(session_id, str) and session_id:
            self._kept[session_id] = usage
            while len(self._kept) > MAX_SESSIONS:
                del self._kept[next(iter(self._kept))]


def of_message(usage: Any) -> dict[str, int]:
    """The buckets of a call, as its message tells them."""
    return _counts(usage, OF_MESSAGES)


def added(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    """The sum of two tellings of one model."""
    return {name: left.get(name, 0) + right.get(name, 0) for name in (*left, *(right.keys() - left.keys()))}


def together(parts: Iterable[Told]) -> Told:
    """The sum of several."""
    found: Told = {}
    for one in parts:
        for model, tokens in one.items():
            found[model] = added(found.get(model, {}), tokens)
    return found


def _less(said: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {name: said.get(name, 0) - before.get(name, 0) for name in said.keys() | before.keys()}


def _beyond(said: Mapping[str, int], told: Mapping[str, int]) -> dict[str, int]:
    return {name: tokens for name, tokens in _less(said, told).items() if tokens > 0}


def _weight(tokens: Mapping[str, int]) -> int:
    return sum(WEIGHTS[name] * amount for name, amount in tokens.items())


def _of_models(sums: Any) -> list[tuple[str, Mapping[str, Any]]]:
    given = sums.items() if isinstance(sums, Mapping) else ()
    return [(str(model), said) for model, said in given if isinstance(said, Mapping)]


def _sums(sums: Any) -> Told:
    counts = ((model, _counts(said, MEMBERS)) for model, said in _of_models(sums))
    return {model: found for model, found in counts if found}


def _costs(sums: Any) -> dict[str, int]:
    costs = ((model, _nanos(said.get("costUSD"))) for model, said in _of_models(sums))
    return {model: nanos for model, nanos in costs if nanos is not None}


def _nanos(cost: Any) -> int | None:
    is_number = isinstance(cost, int | float) and not isinstance(cost, bool) and math.isfinite(cost) and cost >= 0
    return round(cost * NANOS) if is_number else None


def _counts(usage: Any, names: Mapping[str, str]) -> dict[str, int]:
    given = usage if isinstance(usage, Mapping) else {}
    known = {bucket: given.get(name) for name, bucket in names.items()}
    return {bucket: value for bucket, value in known.items() if type(value) is int and value >= 0}
