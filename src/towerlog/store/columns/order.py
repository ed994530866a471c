"""Pages by key: a page must end behind the place that it was asked from.

One flipped bit can put a tree out of order: `key > ?` then finds rows whose key is not. Whoever goes on behind the last
of them comes by the same rows again, and never ends. So every page is looked at where it is read, for whoever reads
it; what walks within one question asks `advanced` itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import wraps
from inspect import signature
from operator import attrgetter, itemgetter
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from towerlog.errors import StorageFailed

P = ParamSpec("P")
D = TypeVar("D")
T = TypeVar("T")


class OutOfOrder(StorageFailed):
    """A page does not end behind the place that it was asked from: the table or an index of it is damaged."""


def advanced(table: str, after: Any, key: Any, *, falls: bool = False) -> Any:
    """The key behind which a page ends, for the one that begins there. Raises OutOfOrder, with the table and the place,
    where it is not beyond `after`, which the page was to begin behind (None: at the beginning). `falls`: from the
    highest key down."""
    if after is None or _is_beyond(key, after, falls=falls):
        return key
    where = "below" if falls else "behind"
    found = f"{where} key {_shown(after)} comes {_shown(key)}"
    raise OutOfOrder(f"the table {table} is out of order: {found}", retry_after=1)


def _is_beyond(key: Any, after: Any, *, falls: bool) -> bool:
    try:
        return bool(key < after if falls else key > after)
    except TypeError:  # a number where text was, or nothing
        return False


def _shown(key: Any) -> str:
    return f"({', '.join(map(_shown, key))})" if isinstance(key, tuple) else repr(key)[:60]


def falling(table: str, before: int | None, rows: Iterable[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    """Rows below a number (None: from the highest), whose last value is their own number, without it. Raises OutOfOrder
    at one that is not below the one before it."""
    for *row, number in rows:
        before = advanced(table, before, number, falls=True)
        yield tuple(row)


class Paged(NamedTuple):
    """A question that is answered in pages."""

    table: Callable[[tuple[Any, ...]], str]
    """Its table, by the arguments of the question."""
    after: str
    """The argument that tells where the page begins."""
    end: Callable[[Any], Any]
    """The key behind which a page ends; None where nothing was found."""
    falls: bool = False
    place: Callable[[Any], Any] = lambda value: value
    """The key that the argument means."""


def _by(table: str, after: str, key: Callable[[Any], Any], *, falls: bool = False) -> Paged:
    return Paged(lambda _: table, after, _last(key), falls)


def _last(key: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda page: key(page[-1]) if page else None


_CONTENT = {"messages": "message", "nodes": "node", "metas": "meta_list"}
_seq, _position, _number, _run = map(attrgetter, ("seq", "position", "number", "run"))

PAGED = {
    "events": _by("event", "after_seq", _seq),
    "moments": _by("event", "after_seq", _seq),
    "log": _by("event", "after", _position),
    "logged": _by("event", "after", _position),
    "feed": _by("event", "after", _position),
    "forwarding_waits": _by("org", "after", itemgetter(0)),
    "runs": _by("run", "before", _run, falls=True),
    "runs_cancelling": _by("run", "after", lambda row: (row.cancel_requested_at or 0, row.run)),
    "runs_silent": _by("run", "after", lambda row: (row.seen_at, row.run)),
    "runs_of_step": Paged(lambda _: "run", "row", _last(_run), place=attrgetter("step_after")),
    "checkpoints": _by("checkpoint", "after", attrgetter("step_index", "agent")),
    "agents": _by("agent", "after", attrgetter("name")),
    "lanes_queued": _by("lane", "after", attrgetter("queue_position")),
    "quarantined": _by("quarantine", "after", itemgetter(0)),
    "approvals": _by("approval", "after", _position),
    "erasing_next": _by("erasing", "after", lambda run: run),
    "content": Paged(lambda asked: _CONTENT[asked[2]], "after", _last(itemgetter(0))),
    "audit": Paged(lambda _: "audit_entry", "before", itemgetter(1), falls=True),
    "audit_chain": _by("audit_entry", "after", _number),
    "budgets": _by("budget", "before", _number, falls=True),
    "prices": _by("price", "before", _number, falls=True),
    "personas": _by("persona", "before", _number, falls=True),
    "routes": _by("provider_route", "before", _number, falls=True),
    "alert_rules": _by("alert_rule", "before", _number, falls=True),
    "alert_rules_timed": _by("alert_rule", "after", attrgetter("org", "rule_id")),
    "alerts": _by("alert", "before", _number, falls=True),
    "alerts_open_of": _by("alert", "before", _number, falls=True),
    "alerts_unwatched": Paged(lambda _: "alert", "after", itemgetter(1)),
    "deliveries": _by("delivery", "before", _number, falls=True),
    "deliveries_waiting": _by("delivery", "after", lambda org: org),
    "bodies_waiting": _by("delivery_body", "after", lambda org: org),
}
"""Questions of every store by name. Those whose place is an id, and not a key, are not among them, and look at each row
themselves (`falling`): members, keys, links, sessions and threads."""


def _check(paged: Paged, place: int, args: tuple[Any, ...], asked: dict[str, Any], page: Any) -> None:
    end = paged.end(page)
    if end is not None:
        after = args[place] if place < len(args) else asked[paged.after]
        advanced(paged.table(args), paged.place(after), end, falls=paged.falls)


def in_order(name: str, function: Callable[Concatenate[D, P], T]) -> Callable[Concatenate[D, P], T]:
    """The function that answers a question of this name; where that is paged, it raises OutOfOrder."""
    paged = PAGED.get(name)
    if paged is None:
        return function
    place = list(signature(function).parameters).index(paged.after)

    @wraps(function)
    def checked(*args: Any, **asked: Any) -> Any:
        page = function(*args, **asked)
        _check(paged, place, args, asked, page)
        return page

    return checked


def awaited_in_order(
    name: str, function: Callable[Concatenate[D, P], Awaitable[T]]
) -> Callable[Concatenate[D, P], Awaitable[T]]:
    """The same of a function that has to be awaited."""
    paged = PAGED.get(name)
    if paged is None:
        return function
    place = list(signature(function).parameters).index(paged.after)

    @wraps(function)
    async def checked(*args: Any, **asked: Any) -> Any:
        page = await function(*args, **asked)
        _check(paged, place, args, asked, page)
        return page

    return checked
