"""What the events of a run tell of usage to programs that add up what each of its spans says.

In the log a total that came before its calls is taken back when these come, and a computed cost when a told one takes
its place. A span that has gone out cannot be taken back. So what an event tells is worked out from all of them: what
is left of it in the end. The sum over the events is what the run has spent.

Figures are kept by place: five buckets of tokens, the tokens that are in none of them, and two parts of the cost. No
token is in two places, so what is taken back of one is taken from what earlier events have told of that one.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from struct import Struct

import msgspec
from msgspec.structs import astuple

from towerlog.model.event import Event, EventType
from towerlog.model.run import RunRow
from towerlog.model.usage import Usage

MAX_FIGURE_BYTES = 8 * 1024 * 1024
"""Of the events of a run from which something may be taken, the last ones."""
MAX_SETTLED_BYTES = 16 * 1024 * 1024
"""Of events before them from which something was taken, the last ones: an older one tells what it did at first."""
MAX_CALL_BYTES = 4 * 1024 * 1024
"""Of calls of a trace that came in as spans, the last ones: of an older one its event tells what it did at first."""
ENTRY_BYTES, SETTLED_BYTES, CALL_BYTES = 800, 200, 300
"""About what one of each takes, beside the names in it."""
MAX_ENTRIES = MAX_FIGURE_BYTES // ENTRY_BYTES
"""So many events there are at most from which something may be taken."""
_UNSPLIT, _COMPUTED, _TOLD = 5, 6, 7
"""Places: the first five are the buckets, in the order of `Usage`."""
_TOKENS, _COST = range(_UNSPLIT + 1), (_COMPUTED, _TOLD)
_SIDES = ((0, 1, 2), (3, 4))
"""Places of all input, and of all output."""
_NEAR = [(at, of) for side in _SIDES for at in side for of in side if at != of]
_FAR = [(at, of) for at in _TOKENS for of in _TOKENS if _UNSPLIT in (at, of) and at != of]
_INSTEAD = [*((at, at) for at in _TOKENS), *_NEAR, *_FAR]
"""What is to be taken at a place, and where: there, or else nearby."""
_MODEL_CALL = EventType.MODEL_CALL
_OTLP = "otlp"
"""The dialect of what came in as a span: its tokens go out as they came."""
_PACKED = Struct(f"{_TOLD + 1}q")
_NOTHING_LEFT = bytes(_PACKED.size)
Whose = str | int
"""The name of an agent, or its number where that has none."""


class Remainder(msgspec.Struct):
    """What is left of what one event has told."""

    seq: int
    agent: Whose
    model: str | None
    is_total: bool
    is_span: bool
    unpriced: int
    was: list[int]
    """By place."""
    left: list[int]

    def size(self) -> int:
        """In bytes, about."""
        return ENTRY_BYTES + len(self.model or "")


class FigureStacks:
    """Events that have something left at one place, by agent and model; of each the newest is the last."""

    def __init__(self, place: int) -> None:
        """Of no events."""
        self._place = place
        self._stacks: dict[Whose, dict[str | None, deque[Remainder]]] = {}

    def put(self, entry: Remainder) -> None:
        """One more, the newest."""
        if entry.left[self._place]:
            self._stacks.setdefault(entry.agent, {}).setdefault(entry.model, deque(maxlen=MAX_ENTRIES)).append(entry)

    def forget(self, entry: Remainder) -> None:
        """The oldest of all is not known any more."""
        of_agent = self._stacks.get(entry.agent, {})
        stack = of_agent.get(entry.model)
        if stack and stack[0] is entry:
            stack.popleft()
        if stack is not None and not stack:
            del of_agent[entry.model]
            if not of_agent:
                del self._stacks[entry.agent]

    def take(self, much: int, agents: Iterable[Whose], model: str | None) -> int:
        """Takes so much: of these agents first, of theirs of this model, and then of the newest. What is not there."""
        for agent, name in self._turns(agents, model):
            of_agent = self._stacks[agent]
            stack = of_agent[name]
            while stack and much:
                left = stack[-1].left
                some = min(much, left[self._place])
                left[self._place] -= some
                much -= some
                if not left[self._place]:
                    stack.pop()
            if not much:
                break
            del of_agent[name]
            if not of_agent:
                del self._stacks[agent]
        return much

    def _turns(self, agents: Iterable[Whose], model: str | None) -> Iterator[tuple[Whose, str | None]]:
        """Each stack is used up and gone before the next one is asked for, so nothing is looked at twice."""
        for agent in agents:
            if model in self._stacks.get(agent, {}):
                yield agent, model
            while agent in self._stacks:
                yield agent, next(reversed(self._stacks[agent]))
        while self._stacks:
            newest = next(reversed(self._stacks))
            yield newest, next(reversed(self._stacks[newest]))


class SpanFigures:
    """Takes all events of a run in their order; then it is known what each of them tells."""

    def __init__(self, agents: Mapping[int, str] | None = None, after: int = 0) -> None:
        """`agents`: names by number. `after`: what came up to this position has gone out before and stays: what is
        taken from that is told of later events only."""
        self._agents: Mapping[int, str] = {} if agents is None else agents
        self._after = after
        self._entries: dict[int, Remainder] = {}
        self._settled: dict[int, bytes] = {}
        self._entry_bytes = self._call_bytes = 0
        self._pools = {
            (place, is_total): FigureStacks(place) for place in (*_TOKENS, *_COST) for is_total in (False, True)
        }
        self._calls: dict[str, int] = {}
        self._costs: dict[int, int | None] = {}
        self._owed = [0] * len(_TOKENS)
        """What was to be taken and is not there, by place: of events that have gone out."""
        self._owed_nanos = 0
        self._all_priced = False
        self._priced: frozenset[int] = frozenset()
        """Events that nobody had priced when they came, and whose cost is in a told one by now."""

    def size(self) -> int:
        """In bytes, about."""
        return self._entry_bytes + self._call_bytes + len(self._settled) * SETTLED_BYTES

    def take(self, event: Event) -> None:
        """The next event."""
        self._note_calls(event)
        facts, of = event.facts, event.effects.recount
        if facts.spent is None or event.position <= self._after or (of is not None and not of.of_total):
            return
        agent = self._agents.get(event.agent, event.agent)
        model = event.effects.model if of is None else of.model or None
        for place, told in zip(_TOKENS, _tokens_of(facts.spent), strict=True):
            if told < 0:
                self._take_tokens(place, -told, agent, model)
        net = _net_nanos(event)
        if net < 0:
            self._take_cost(-net, tuple({one.agent for one in facts.taken_back}), of is not None)
        self._add(event, agent, model)

    def finish(self, run: RunRow) -> None:
        """All was taken that there is of a run: tells apart what has no price from what is in a told cost by now."""
        unpriced = run.usage.unpriced_calls or 0
        self._all_priced = not unpriced
        if self._all_priced:
            return
        cells = Counter[tuple[Whose, str]]()
        for cell in run.computed_cells:
            cells[cell.agent, cell.model] += cell.unpriced
        entries = [one for one in reversed(self._entries.values()) if one.unpriced and any(one.left[: _UNSPLIT + 1])]
        are_in = [_is_in(cells, one) for one in entries]
        # Where it is not known any more which ones those are: the newest.
        unknown = sorted(range(len(entries)), key=lambda at: not are_in[at])[:unpriced]
        self._priced = frozenset(entries[at].seq for at in set(range(len(entries))).difference(unknown))

    def of(self, event: Event) -> Usage | None:
        """What an event tells; None for nothing. Of a call that came in as a span its tokens are not meant."""
        spent, of = event.facts.spent, event.effects.recount
        if spent is None or (of is not None and not of.of_total):
            return None
        entry = self._entries.get(event.seq)
        settled = self._settled.get(event.seq)
        at_first = _places_of(event) if settled is None else _PACKED.unpack(settled)
        found = _as_left(spent, at_first if entry is None else entry.left)
        is_priced = self._all_priced or event.seq in self._priced or not found.total_tokens
        if found.unpriced_calls and is_priced:
            found = msgspec.structs.replace(found, unpriced_calls=None)
        is_covered = found.cost_nanos is None and not found.unpriced_calls and bool(found.total_tokens)
        # It adds nothing to the cost, which is known otherwise; who adds up spans would price it.
        return msgspec.structs.replace(found, cost_nanos=0) if is_covered else found

    def cost_of_span(self, event: Event) -> int | None:
        """What a call that came in as a span has cost, with the calls below it, in nano-dollars."""
        effects, spent = event.effects, event.facts.spent
        if event.seq in self._costs:
            return self._costs[event.seq]
        if not effects.calls:
            return effects.told_or_computed().cost_nanos if spent is None else spent.cost_nanos
        call = effects.calls[0]
        whole, counted = call.whole().cost_nanos, self.of(event)
        if counted is None or counted.cost_nanos is None:
            return whole
        own = call.own().cost_nanos
        if own is None and call.priced is not None:
            own = call.priced.nanos
        return max(0, (whole or 0) - (own or 0) + counted.cost_nanos)

    def _note_calls(self, event: Event) -> None:
        """What counts of calls of a trace by now: they may change with calls below them."""
        calls = event.effects.calls
        if not calls:
            return
        if event.type is _MODEL_CALL:
            self._calls[calls[0].span_id] = event.seq
            self._call_bytes += CALL_BYTES + len(calls[0].span_id)
            calls = calls[1:]
        for one in calls:
            seq = self._calls.get(one.span_id)
            if seq is not None:
                self._costs[seq] = one.whole().cost_nanos
        while self._call_bytes > MAX_CALL_BYTES:
            oldest = next(iter(self._calls))
            self._call_bytes -= CALL_BYTES + len(oldest)
            self._costs.pop(self._calls.pop(oldest), None)

    def _add(self, event: Event, agent: Whose, model: str | None) -> None:
        is_call, places = event.type is _MODEL_CALL, _places_of(event)
        is_span = is_call and event.dialect == _OTLP
        unpriced = 0 if event.facts.spent is None else event.facts.spent.unpriced_calls or 0
        entry = Remainder(event.seq, agent, model, not is_call, is_span, unpriced, places, list(places))
        self._settle(entry)
        if entry.left == entry.was and not any(entry.left):
            return
        self._entries[entry.seq] = entry
        self._entry_bytes += entry.size()
        for place in _places_to_take(entry):
            self._pools[place, entry.is_total].put(entry)
        while self._entry_bytes > MAX_FIGURE_BYTES:
            self._forget(self._entries.pop(next(iter(self._entries))))

    def _settle(self, entry: Remainder) -> None:
        """Takes from a new event what was not there to be taken before it."""
        left = entry.left
        if any(self._owed) and not entry.is_span:
            for at, of in _INSTEAD:
                some = min(self._owed[at], left[of])
                self._owed[at] -= some
                left[of] -= some
        for place in _COST:
            some = min(self._owed_nanos, left[place])
            self._owed_nanos -= some
            left[place] -= some

    def _forget(self, entry: Remainder) -> None:
        """Nothing is taken from it from here on."""
        self._entry_bytes -= entry.size()
        for place in _places_to_take(entry):
            self._pools[place, entry.is_total].forget(entry)
        if entry.left != entry.was:
            self._settled[entry.seq] = _PACKED.pack(*entry.left) if any(entry.left) else _NOTHING_LEFT
        if len(self._settled) * SETTLED_BYTES > MAX_SETTLED_BYTES:
            del self._settled[next(iter(self._settled))]

    def _take_tokens(self, place: int, much: int, agent: Whose, model: str | None) -> None:
        """From totals: of this agent and model first, and then the newest. Only a call can have tokens of which no
        split was known, until a total told it."""
        much = self._pools[place, True].take(much, (agent,), model) if much else 0
        if much and place == _UNSPLIT:
            much = self._pools[place, False].take(much, (agent,), model)
        self._owed[place] += much

    def _take_cost(self, nanos: int, agents: tuple[Whose, ...], of_total: bool) -> None:
        """From these agents' first, of totals or of calls, and then from the newest; of what was computed first."""
        for place in _COST:
            for is_total in (of_total, not of_total):
                nanos = self._pools[place, is_total].take(nanos, agents, None) if nanos else 0
        self._owed_nanos += nanos


AboutRun = tuple[RunRow, Mapping[int, str], SpanFigures]
"""A run, the names of the agents that its events are of, by number, and what these tell of usage."""


def _tokens_of(spent: Usage) -> list[int]:
    """By place; may be less than 0."""
    buckets = [one or 0 for one in astuple(spent)[:_UNSPLIT]]
    return [*buckets, (spent.total_tokens or 0) - sum(buckets)]


def _net_nanos(event: Event) -> int:
    """What an event has added to the cost, without what it took back."""
    spent = event.facts.spent
    cost = 0 if spent is None else spent.cost_nanos or 0
    return cost - event.facts.lost_nanos()


def _places_of(event: Event) -> list[int]:
    """What an event tells that nothing was taken from."""
    spent = event.facts.spent
    if spent is None:
        return [0] * (_TOLD + 1)
    nanos = max(0, _net_nanos(event))
    computed = min(nanos, max(0, spent.computed_nanos or 0))
    return [*(max(0, one) for one in _tokens_of(spent)), computed, nanos - computed]


def _places_to_take(entry: Remainder) -> Iterator[int]:
    """Where something may be taken from it: of a call no tokens but those of unknown split."""
    if entry.is_total:
        yield from _TOKENS
    elif not entry.is_span:
        yield _UNSPLIT
    yield from _COST


def _is_in(cells: Counter[tuple[Whose, str]], entry: Remainder) -> bool:
    """Whether an event without a price is one of those that the run still counts; `cells`: how many, less this one."""
    key = entry.agent, entry.model or ""
    cells[key] -= 1
    return cells[key] >= 0


def _as_left(spent: Usage, left: Sequence[int]) -> Usage:
    """What is left, as it was told: what was unknown stays so."""
    known = zip(astuple(spent)[:_UNSPLIT], left[:_UNSPLIT], strict=True)
    sent, cached, written, visible, thought = (None if one is None else now for one, now in known)
    return Usage(
        sent,
        cached,
        written,
        visible,
        thought,
        total_tokens=None if spent.total_tokens is None else sum(left[: _UNSPLIT + 1]),
        cost_nanos=None if spent.cost_nanos is None else left[_COMPUTED] + left[_TOLD],
        computed_nanos=left[_COMPUTED] or None,
        unpriced_calls=spent.unpriced_calls,
    )
