"""What the turns of a session of the Claude Agent SDK have used: each token and each cent once.

A message tells what its call has used so far, which may be less than it will be; the result of a turn tells the sums of
each model, with their cost, over all turns of the session. So a call is told with what its message says, and with the
result what is missing to the tokens. The cost of the turn is told as that of its runs as a whole, which takes the place
of what the server computes for their calls.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Protocol

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
MAX_TURNS = 100
"""Turns of a session without a result that get their part of the next one's cost."""

Told = dict[str, dict[str, int]]
"""Model → bucket → tokens."""


class Spender(Protocol):
    """One agent of a turn."""

    @property
    def told(self) -> Told:
        """What its messages have told since the last result that included it."""

    def cost(self, nanos: int) -> None:
        """Its part of what a result tells."""

    def settle(self) -> None:
        """A result includes what was told until now."""


class ToldTurn(Protocol):
    """A turn of a session."""

    @property
    def told(self) -> Told:
        """What its messages have told since the last result that included it."""

    @property
    def scopes(self) -> Sequence[Spender]:
        """All that have told something."""


class TurnUsage:
    """What was used since the last result, by the next one."""

    def __init__(
        self, told: Told, sums: Told, cost_nanos: int | None, costs: Mapping[str, int], has_others: bool
    ) -> None:
        """`told`: by messages, `sums`: by its result, `costs`: of each model, in nano-dollars."""
        self.has_others = has_others
        """These are the figures of turns without a result too."""
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
    """The sums of a session, by its last result that was read, and the turns that have told something since."""

    def __init__(self, like: SessionUsage | None = None) -> None:
        """Before its first result. `like`: of a session before it, whose sums may go on in its."""
        self._sums: Told = {} if like is None else like._sums
        self._costs: dict[str, int] = {} if like is None else like._costs
        self._cost: int | None = None if like is None else like._cost
        self._is_guess = like is not None
        self.turns: list[ToldTurn] = []
        """Of those that no result has included yet, this one's own among them. At most `MAX_TURNS`."""
        self.has_forgotten = False
        """There were more of them: of the cost of the next result nobody knows what is theirs."""
        self._forgotten: Told = {}

    def begin(self, turn: ToldTurn) -> None:
        """A turn of the session begins."""
        self.turns.append(turn)
        if len(self.turns) > MAX_TURNS:
            self.has_forgotten = True
            self._forgotten = together((self._forgotten, self.turns.pop(0).told))

    def end(self, turn: ToldTurn) -> None:
        """It is over; what it has told without a result is part of the next one's figures."""
        if turn in self.turns and not turn.told:
            self.turns.remove(turn)

    def turn(self, told: Told, sums: Any, cost_usd: Any, others: Told | None = None) -> TurnUsage | None:
        """What was used since the last result that was read, by one that is read now; None where it has no figures.

        `told`: by the messages of its turn, `others`: by those of turns without a result, which it may include.
        """
        now, costs, cost = _sums(sums), _costs(sums), _nanos(cost_usd)
        if not now and not costs and cost is None:
            return None
        left = together((self._forgotten, others or {}))
        before, left = self._base(told, left, now, costs, cost)
        more = {model: less(said, before._sums.get(model, {})) for model, said in now.items()}
        of_models = {model: nanos - before._costs.get(model, 0) for model, nanos in costs.items()}
        of_turn = None if cost is None else cost - (before._cost or 0)
        if cost is None and of_models:
            of_turn = sum(of_models.values())
        found = TurnUsage(together((told, left)), more, of_turn, of_models, bool(left))
        self._sums, self._costs = now or before._sums, costs or before._costs
        self._cost = cost if of_turn is None else (before._cost or 0) + of_turn
        self._is_guess = self.has_forgotten = False
        self._forgotten = {}
        return found

    def _base(
        self, told: Told, left: Told, now: Told, costs: Mapping[str, int], cost: int | None
    ) -> tuple[SessionUsage, Told]:
        """From which sums a result's go on, and what of the turns without a result they include.

        A process that has begun anew tells sums from 0 on, and a call that was broken off may be in none. So it is what
        comes nearest to what the messages have told: their input is told in full.
        """
        alone, whole = SessionUsage(), together((told, left))
        goes_on = self._goes_on(told, now, costs, cost)
        if not now:
            return (self, left) if goes_on else (alone, {})
        if not whole.keys() & now.keys():
            return (self if goes_on and not self._is_guess else alone), {}
        named = now.keys() & whole.keys() if self._is_guess else now.keys()
        ways = [(base, part) for base in (alone, *([self] if goes_on else ())) for part in (left, {})]
        if not told.keys() & now.keys() and not self._is_guess:
            # Its own messages name none of these models: one that was called before is one that the session has called.
            ways.sort(key=lambda way: way[0] is alone)
        return min(ways, key=lambda way: _distance(named, now, way[0]._sums, together((told, way[1]))))

    def _goes_on(self, told: Told, now: Told, costs: Mapping[str, int], cost: int | None) -> bool:
        """Whether these may be sums of the session; else they are of the turn alone."""
        if cost is not None and cost < (self._cost or 0):
            return False
        if not now:
            return not (told and cost is not None and cost == self._cost) and not self._is_guess
        if any(costs.get(model, 0) < nanos for model, nanos in self._costs.items()):
            return False
        return not any(
            now.get(model, {}).get(name, 0) < one for model, said in self._sums.items() for name, one in said.items()
        )


class Sessions:
    """The sums of the sessions of a process: more than one object may report the turns of one."""

    def __init__(self) -> None:
        """Starts without sessions."""
        self._kept: dict[str, SessionUsage] = {}
        self._lock = threading.Lock()

    def of(self, session_id: str, last: SessionUsage | None) -> SessionUsage:
        """Those of a session. `last`: of the one whose result was read last by who asks; a program may go on with its
        sums under another id."""
        with self._lock:
            found = self._kept.pop(session_id, None) or SessionUsage(last)
            self._kept[session_id] = found
            while len(self._kept) > MAX_SESSIONS:
                del self._kept[next(iter(self._kept))]
        return found


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


def less(said: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """What the one has beyond the other."""
    return {name: said.get(name, 0) - before.get(name, 0) for name in said.keys() | before.keys()}


def _beyond(said: Mapping[str, int], told: Mapping[str, int]) -> dict[str, int]:
    return {name: tokens for name, tokens in less(said, told).items() if tokens > 0}


def _distance(models: Iterable[str], now: Told, before: Told, told: Told) -> int:
    """By how many tokens of input a sum differs from what was there before and what was told since."""
    beyond = (less(less(now[model], before.get(model, {})), told.get(model, {})) for model in models)
    return sum(abs(tokens) for rest in beyond for bucket, tokens in rest.items() if bucket != "output_tokens")


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
