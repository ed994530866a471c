"""Are rows that people have set as the newest entry of the audit about each left them?

Rows may be written while they are read here: each may then say what any entry of that time has left, or the last one
before it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from towerlog.engine.audit import states
from towerlog.engine.audit.told import LostRow, Tellings, ToldState
from towerlog.errors import StorageFailed
from towerlog.model.audit import state_json
from towerlog.model.principal import Org
from towerlog.store.base import Store

T = TypeVar("T")
PAGE_ROWS = 200
Report = Callable[[str], None]
State = dict[str, Any]
Found = dict[str, State]
"""The states of all rows of a type, by id."""


async def read_settings(store: Store, report: Report, org: Org, tellings: Tellings) -> dict[str, Found]:
    """All rows by the type of their objects in the audit. A type that cannot be read is reported, and left out."""
    found: dict[str, Found] = {"organisation": {org.org_id: {"name": org.name}}}
    for kind, rows in _ROWS.items():
        try:
            found[kind] = {name: as_told(state) async for name, state in rows(store, org.org, tellings)}
        except (StorageFailed, msgspec.MsgspecError, ValueError, TypeError, AttributeError) as error:
            report(f"{kind}: cannot be held against the audit: {error}")
    return found


def compare_settings(
    report: Report, found: dict[str, Found], tellings: Tellings, lose: Callable[[LostRow], None] | None = None
) -> None:
    """Reports each row that is not as it was told, with the fields in which it is not and the entry's number.

    `lose`: given those that are not there, which are not reported then.
    """
    for kind, rows in found.items():
        for name in dict.fromkeys((*tellings.things(kind), *rows)):
            now = rows.get(name)
            possible = tellings.possible((kind, name))
            faults = [_fault(told, now, tellings.is_whole) for told in possible]
            if not all(faults):
                continue
            newest = possible[-1]
            if lose is not None and now is None and newest is not None:
                lose(tellings.lost((kind, name), newest))
            else:
                report(f"{kind} {name}: {faults[-1]}")


def _fault(told: ToldState | None, now: State | None, is_whole: bool) -> str:
    """What is wrong with a row after an entry; None: no entry says what it should be."""
    if told is None:
        return "no entry of the audit tells of it" if now is not None and is_whole else ""
    entry = f"audit entry {told.number}"
    if now is None:
        return "" if told.state is None else f"is missing, {entry} tells of it"
    if told.state is None:
        return f"is there, {entry} tells of its end"
    names = told.differing(now)
    return f"differs from {entry} in {', '.join(names)}" if names else ""


def as_told(state: State) -> State:
    """A state as an entry would have it."""
    told: State = msgspec.json.decode(state_json(state))
    return told


# Reading


Reading = AsyncIterator[tuple[str, State]]


async def _pages(page: Callable[[Any], Awaitable[Sequence[T]]], place: Callable[[T], Any]) -> AsyncIterator[T]:
    """All rows of a question that is asked page by page, each before a place."""
    before = None
    while rows := await page(before):
        for row in rows:
            yield row
        before = place(rows[-1])


def _number(row: Any) -> int:
    number: int = row.number
    return number


async def _budgets(store: Store, org: int, _: Tellings) -> Reading:
    async for row in _pages(lambda before: store.budgets(org, PAGE_ROWS, before), _number):
        yield row.budget_id, states.budget_state(row)


async def _prices(store: Store, org: int, _: Tellings) -> Reading:
    async for row in _pages(lambda before: store.prices(org, PAGE_ROWS, before), _number):
        yield row.price_id, states.price_state(row)


async def _rules(store: Store, org: int, _: Tellings) -> Reading:
    async for row in _pages(lambda before: store.alert_rules(org, PAGE_ROWS, before), _number):
        yield row.rule_id, states.rule_state(row)


async def _policies(store: Store, org: int, _: Tellings) -> Reading:
    for row in await store.policies_of(org):
        yield row.kind.value, states.policy_state(row)


async def _keys(store: Store, org: int, _: Tellings) -> Reading:
    async for row in _pages(lambda before: store.keys(org, PAGE_ROWS, before), attrgetter("key_id")):
        yield row.key_id, states.key_state(row)


async def _members(store: Store, org: int, tellings: Tellings) -> Reading:
    """Those of today, and those who were told of: they may be removed."""
    async for row in _pages(lambda before: store.members(org, PAGE_ROWS, before), attrgetter("user_id")):
        yield row.user_id, states.member_state(row)
    told = tellings.things("member")
    for start in range(0, len(told), PAGE_ROWS):
        for name, row in (await store.users(org, told[start : start + PAGE_ROWS])).items():
            yield name, states.member_state(row)


async def _personas(store: Store, org: int, _: Tellings) -> Reading:
    async for row in _pages(lambda before: store.personas(org, PAGE_ROWS, before), _number):
        yield row.persona_id, states.persona_state(row)


async def _routes(store: Store, org: int, _: Tellings) -> Reading:
    """The newest version of each."""
    known: set[str] = set()
    async for row in _pages(lambda before: store.routes(org, PAGE_ROWS, before), _number):
        if row.route_id not in known:
            known.add(row.route_id)
            yield row.route_id, states.route_state(row)


_ROWS: dict[str, Callable[[Store, int, Tellings], Reading]] = {
    "budget": _budgets,
    "price": _prices,
    "rule": _rules,
    "retention": _policies,
    "key": _keys,
    "member": _members,
    "persona": _personas,
    "route": _routes,
}
