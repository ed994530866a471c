"""Settling of rows that were lost: of what people had set, and the audit tells of, the row is not there any more.

Where the audit tells all of a row it is made anew; else it is gone. Either is an entry of the server's own about the
object, with which the audit and the rows agree again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from towerlog.engine.audit.restored import RowPlace, restored
from towerlog.engine.audit.settings import as_told
from towerlog.engine.audit.states import member_state
from towerlog.engine.audit.told import LostRow
from towerlog.engine.plan.budgets import spent_in
from towerlog.model.audit import SERVER, Action, AuditEntry, make_entry
from towerlog.model.budget import BudgetRow, BudgetStep, HeldWanted, Period, Reservation, period_start
from towerlog.model.principal import Org, User
from towerlog.projections import budgets as fold
from towerlog.store.base import Store, Unit
from towerlog.store.values import AuditHead, Changes, Kind

KEYS_ON_A_PAGE = 200
ENTRIES_ON_A_PAGE = 1000
RESERVATIONS_ON_A_PAGE = 1000
_NAMING = frozenset({Action.ORGANISATION_CREATE, Action.ORGANISATION_RENAME, Action.ROW_RESTORE})


class Mended(NamedTuple):
    """What has become of one of them."""

    lost: LostRow
    state: dict[str, Any] | None
    """Of the row that was made anew, as entries have it; None: it is gone."""


async def mend_rows(store: Store, org: Org, lost: list[LostRow], now_ms: int) -> list[Mended]:
    """Settles all of them in one transaction. The projections must be whole: budgets count anew from them.

    What budgets hold and have paused is what other tables have of them, whether their own row was lost or not. Where it
    is gone, the runs that it has paused are asked to go on.
    """
    mended: list[Mended] = []
    changes = Changes()
    holds, pausing = await _holds(store, org.org), await store.budgets_pausing(org.org)
    async with store.begin() as unit:
        numbers = {kind: await _numbers(unit, org.org, kind) for kind in {one.type for one in lost}}
        for one in lost:
            taken = numbers[one.type]
            place = RowPlace(org.org, 1 + max(taken, default=0), frozenset(taken), now_ms)
            found = restored(one, place)
            action, state = Action.ROW_LOSE, None
            if found is not None:
                row, state = found
                if isinstance(row, BudgetRow):
                    row = await _counted(unit, await _joined(unit, row, holds), now_ms)
                if isinstance(row, User) and await _is_named_as_another(unit, row, changes):
                    row = msgspec.structs.replace(row, removed_at=now_ms)
                    state = as_told(member_state(row))
                taken.add(getattr(row, "number", 0))
                _put(changes, org.org, one, row)
                action = Action.ROW_RESTORE
            about = (one.type, one.id)
            changes.audit.append(make_entry(org.org, now_ms, SERVER, action, about, one.told.state, state))
            mended.append(Mended(one, state))
        for budget in (await unit.load({Kind.BUDGETS: [org.org]}, 0))[Kind.BUDGETS].get(org.org, ()):
            joined = await _joined(unit, budget, holds)
            if joined != budget:
                changes.budgets[org.org, budget.budget_id] = joined
        await _let_go(unit, org.org, pausing, lost, changes, now_ms)
        if mended or changes.budgets:
            await unit.commit(changes)
    return mended


class OrgBack(NamedTuple):
    """An organisation whose row was made anew."""

    org: Org
    told_name: str
    """The last that its audit tells. Where another organisation got that meanwhile, its id is its name."""


async def put_org_back(store: Store, number: int, now_ms: int) -> OrgBack | None:
    """Makes the row of an organisation anew as its audit tells it; None where the audit does not tell its beginning."""
    made: AuditEntry | None = None
    name, head = "", AuditHead(0, b"")
    while page := await store.audit_chain(number, head.number, ENTRIES_ON_A_PAGE):
        for one in page:
            head = AuditHead(one.number, one.hash)
            entry = _decoded(one.doc)
            if one.number == 1 and entry is not None and entry.action == Action.ORGANISATION_CREATE:
                made = entry
            if (
                entry is not None
                and made is not None
                and (entry.action in _NAMING and entry.object_id == made.object_id)
            ):
                name = msgspec.json.decode(entry.after)["name"]
    if made is None:
        return None
    is_taken = name in [one.name for one in await store.orgs() if one.org != number]
    org = Org(number, made.object_id, made.object_id if is_taken else name, made.at)
    about, state = ("organisation", org.org_id), {"name": org.name}
    await store.org_put_back(org, head, make_entry(number, now_ms, SERVER, Action.ROW_RESTORE, about, None, state))
    return OrgBack(org, name)


def _decoded(doc: bytes) -> AuditEntry | None:
    try:
        return msgspec.json.decode(doc, type=AuditEntry)
    except msgspec.MsgspecError:
        return None  # the check of the audit names it


async def lacks_keys(store: Store, org: int) -> bool:
    """Whether nobody gets in with a key any more."""
    before: str | None = None
    while page := await store.keys(org, KEYS_ON_A_PAGE, before):
        if any(key.revoked_at is None for key in page):
            return False
        before = page[-1].key_id
    return True


async def _numbers(unit: Unit, org: int, kind: str) -> set[int]:
    """Those that rows of this type have."""
    asked = _NUMBERED.get(kind)
    if asked is None:
        return set()
    rows = (await unit.load({asked: [org]}, 0))[asked].get(org, ())
    return {row.number for row in rows}


async def _holds(store: Store, org: int) -> dict[str, list[Reservation]]:
    """Open reservations by the ids of the budgets that hold them, oldest first."""
    found: list[Reservation] = []
    before: str | None = None
    while page := await store.reservations(HeldWanted(org, RESERVATIONS_ON_A_PAGE, before)):
        found += page
        before = page[-1].reservation_id
    holds: dict[str, list[Reservation]] = {}
    for one in reversed(found):
        for budget_id in one.budgets:
            holds.setdefault(budget_id, []).append(one)
    return holds


async def _joined(unit: Unit, row: BudgetRow, holds: dict[str, list[Reservation]]) -> BudgetRow:
    """With what reservations hold of it, and the runs that it has paused."""
    paused = await unit.runs_of_step(msgspec.structs.replace(row, step=BudgetStep.RESUME, step_after=0), 1)
    return fold.joined(row, holds.get(row.budget_id, ()), has_paused=bool(paused))


async def _let_go(
    unit: Unit, org: int, pausing: Iterable[str], lost: list[LostRow], changes: Changes, now_ms: int
) -> None:
    """Puts something in the place of budgets that have paused runs and are not there any more."""
    stored = (await unit.load({Kind.BUDGETS: [org]}, 0))[Kind.BUDGETS].get(org, ())
    rows = [*stored, *(row for row in changes.budgets.values() if row is not None)]
    names = {one.id: str((one.told.state or {}).get("name", one.id)) for one in lost}
    number = max((row.number for row in rows), default=0)
    for budget_id in set(pausing) - {row.budget_id for row in rows}:
        number += 1
        changes.budgets[org, budget_id] = fold.lost(org, budget_id, number, names.get(budget_id, budget_id), now_ms)


async def _counted(unit: Unit, row: BudgetRow, now_ms: int) -> BudgetRow:
    """With what its present period has spent, as one that is made now; used up, it acts at once."""
    start = period_start(row.period, now_ms)
    wanted = spent_in(row.org, row.scope, row.period, start)
    spent = (await unit.load({Kind.BUDGET_SPENT: [wanted]}, 0))[Kind.BUDGET_SPENT].get(wanted, 0)
    row = msgspec.structs.replace(row, period_start=start, spent_nanos=spent)
    if row.period is Period.TOTAL:
        row = msgspec.structs.replace(row, begun_at=now_ms, begun_nanos=spent)
    return fold.changed(row, now_ms)


async def _is_named_as_another(unit: Unit, user: User, changes: Changes) -> bool:
    """Whether a member that is there has its name or its e-mail address: made while this one was missing."""
    if user.removed_at is not None:
        return False
    names = user.folded_names()
    wanted = sorted((user.org, name) for name in names)
    holders = (await unit.load({Kind.MEMBER_NAME: wanted}, 0))[Kind.MEMBER_NAME]
    beside = (one for one in changes.users.values() if one.removed_at is None)
    return bool(set(holders.values()) - {user.user_id}) or any(names & one.folded_names() for one in beside)


def _put(changes: Changes, org: int, lost: LostRow, row: Any) -> None:
    _PUT[lost.type](changes)[org, row.kind if lost.type == "retention" else lost.id] = row


_NUMBERED = {"budget": Kind.BUDGETS, "price": Kind.PRICES, "rule": Kind.ALERT_RULES}
_PUT: dict[str, Callable[[Changes], dict[Any, Any]]] = {
    "budget": lambda changes: changes.budgets,
    "price": lambda changes: changes.prices,
    "rule": lambda changes: changes.alert_rules,
    "retention": lambda changes: changes.retention,
    "member": lambda changes: changes.users,
}
"""Where the rows of a type stand in what is written."""
