"""A row that people had set and that is lost is settled by a rebuild, and the audit tells it; so in each store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.contract.test_settings import COUNTED, DOLLAR, budget, complaints, forge, in_doc, newest, rule
from tests.engine.alerts.alerting import spending
from tests.support.backends import Backend
from tests.support.rig import Rig, open_rig
from towerlog.engine.audit import told
from towerlog.engine.audit.chain import check_audit
from towerlog.engine.audit.mending import Mended, lacks_keys, mend_rows, put_org_back
from towerlog.engine.audit.outside import organisation_removed, organisation_renamed
from towerlog.engine.audit.removals import lost_removals, remove_again
from towerlog.engine.erasure.removal import removed_now
from towerlog.engine.verify import rebuild_org, verify_org
from towerlog.errors import Conflict, StorageFailed
from towerlog.model.alert import AlertAct, AlertConfig, AlertScope, AlertTrigger, CreateRule
from towerlog.model.alert_channel import AlertChannel, ChannelType
from towerlog.model.audit import SERVER, AuditFilter
from towerlog.model.budget import (
    BudgetAction,
    BudgetScope,
    ChangeBudget,
    CreateBudget,
    DeleteBudget,
    Period,
    ReleaseReservation,
    ReserveBudget,
)
from towerlog.model.command import CreateKey
from towerlog.model.facts import Erases
from towerlog.model.member import ChangeMember, CreateMember, RemoveMember, SetPassword
from towerlog.model.price import CreatePrice, Rates
from towerlog.model.principal import Org, Principal, Role, Scope
from towerlog.model.question import RunFilter
from towerlog.model.retention import SetRetention

# What lets people in is among it.
pytestmark = pytest.mark.every_value


@pytest.fixture
async def rig(backend: Backend, tmp_path: Path) -> AsyncIterator[Rig]:
    """An engine on the backend, with its organisation."""
    async with open_rig(tmp_path, backend=backend) as opened:
        yield opened


def lose(backend: Backend, table: str, where: str = "") -> None:
    """Takes rows out behind everybody's back, and nothing else that belongs to them."""
    if table == "user" and backend.location.startswith("postgres"):
        table = "org_user"
    forge(backend, f"DELETE FROM {table}{where}")


async def rebuilt(rig: Rig) -> list[Mended]:
    """What a rebuild does about an organisation."""
    await rebuild_org(rig.store, rig.org)
    rows: list[told.LostRow] = []
    found: list[str] = []
    await check_audit(rig.store, found.append, rig.org, rows.append)
    assert found == []
    [org] = [one for one in await rig.store.orgs() if one.org == rig.org]
    mended = await mend_rows(rig.store, org, rows, rig.clock.now_ms())
    rig.engine.forget()
    return mended


async def entries(rig: Rig, after: int) -> list[tuple[str, str, str]]:
    page, _ = await rig.store.audit(rig.org, AuditFilter(), 100, None)
    newer = sorted((one for one in page if one.number > after), key=lambda one: one.number)
    return [(one.entry.actor.type.value, one.entry.action, one.entry.object_id) for one in newer]


async def test_a_lost_key_is_gone_and_the_audit_says_so(rig: Rig, backend: Backend) -> None:
    key = (await rig.do(CreateKey("ci", (Scope.READ,)))).key.key_id
    last = await newest(rig)
    lose(backend, "api_key", f" WHERE key_id = '{key}'")
    assert await complaints(rig) == [f"key {key}: is missing, audit entry {last} tells of it"]
    [gone] = await rebuilt(rig)
    assert (gone.lost.type, gone.lost.id, gone.state) == ("key", key, None)
    assert await entries(rig, last) == [("server", "row.lose", key)]
    assert await complaints(rig) == []
    assert await rebuilt(rig) == [], "it is settled for good"
    assert not await lacks_keys(rig.store, rig.org)
    lose(backend, "api_key")
    await rebuilt(rig)
    assert await lacks_keys(rig.store, rig.org)
    assert await complaints(rig) == []


async def test_a_lost_member_is_there_again_without_its_password(rig: Rig, backend: Backend) -> None:
    ada = (await rig.do(CreateMember("Ada", Role.VIEWER, "ada@example.com"))).user
    as_ada = Principal(rig.org, rig.principal.org_id, ada.user_id, ada.user_id, frozenset(Scope), is_member=True)
    await rig.do(ChangeMember(ada.user_id, role=Role.OPERATOR))
    await rig.do(SetPassword("$scrypt$slow"), principal=as_ada)
    ben = (await rig.do(CreateMember("ben", Role.VIEWER))).user.user_id
    await rig.do(RemoveMember(ben))
    lose(backend, "user", f" WHERE user_id IN ('{ada.user_id}', '{ben}')")
    found = await complaints(rig)
    assert f"member {ada.user_id}: the name 'ada' is kept for it, and not its own" in found
    with pytest.raises(Conflict):
        await rig.do(CreateMember("ada", Role.VIEWER))
    assert {one.lost.id for one in await rebuilt(rig)} == {ada.user_id, ben}
    assert await complaints(rig) == []
    [again] = [one for one in await rig.store.members(rig.org, 10, None) if one.user_id == ada.user_id]
    assert again == msgspec.structs.replace(ada, role=Role.OPERATOR, password=None)
    assert (await rig.store.users(rig.org, [ben]))[ben].removed_at is not None
    await rig.do(RemoveMember(ada.user_id))
    assert (await rig.do(CreateMember("ada", Role.VIEWER))).user.name == "ada", "the name can be used again"
    assert await complaints(rig) == []


async def test_a_name_that_another_has_by_now_stays_with_that_one(rig: Rig, backend: Backend) -> None:
    ada = (await rig.do(CreateMember("ada", Role.VIEWER))).user.user_id
    lose(backend, "user", f" WHERE user_id = '{ada}'")
    lose(backend, "user_name", f" WHERE user_id = '{ada}'")
    rig.engine.forget()
    other = (await rig.do(CreateMember("Ada", Role.VIEWER))).user.user_id
    [mended] = await rebuilt(rig)
    assert mended.lost.id == ada
    rows = await rig.store.users(rig.org, [ada, other])
    assert (rows[ada].removed_at, rows[other].removed_at) == (rig.clock.now_ms(), None)
    assert await complaints(rig) == []


async def test_names_that_are_lost_are_found_and_kept_again(rig: Rig, backend: Backend) -> None:
    ada = (await rig.do(CreateMember("Ada", Role.VIEWER, "Ada@example.com"))).user.user_id
    lose(backend, "user_name", f" WHERE user_id = '{ada}'")
    assert sorted(await complaints(rig)) == [
        f"member {ada}: its name 'ada' is not kept for it",
        f"member {ada}: its name 'ada@example.com' is not kept for it",
    ]
    assert await rebuilt(rig) == []
    assert await complaints(rig) == []
    with pytest.raises(Conflict):
        await rig.do(CreateMember("ADA", Role.VIEWER))


async def test_what_the_audit_holds_all_of_is_made_anew(rig: Rig, backend: Backend) -> None:
    for scope in (BudgetScope(organisation=True), BudgetScope(agent="a", organisation=False)):
        await rig.do(CreateBudget("b", scope, 123_456_789, Period.DAY, BudgetAction.PAUSE, 0.35))
    await rig.do(CreatePrice("house", COUNTED, since=rig.clock.now_ms(), provider="us"))
    await rig.do(CreatePrice("free-*", Rates(input=0, output=7 * DOLLAR + 1, cached_input=0, input_audio=3)))
    mail = AlertChannel(ChannelType.EMAIL, "ops@example.com")
    figures = AlertConfig(amount_nanos=5 * DOLLAR + 1, window_ms=120_000)
    about = AlertScope(agent="a", label="team=x")
    await rig.do(CreateRule("mail", AlertTrigger.BURN_RATE, about, figures, (mail,), cooldown_ms=60_000))
    times = AlertConfig(times=4)
    shown = AlertChannel(ChannelType.IN_APP)
    await rig.do(CreateRule("loop", AlertTrigger.LOOP, AlertScope(), times, (shown,), act=AlertAct.CANCEL))
    await rig.do(SetRetention(Erases.EVENTS, 86_400_000, 9))
    before = await settings(rig)
    last = await newest(rig)
    for table in ("budget", "price", "alert_rule", "retention"):
        lose(backend, table)
    assert all("is missing" in one for one in await complaints(rig))
    mended = await rebuilt(rig)
    assert [one for one in mended if one.state is None] == []
    assert {action for _, action, _ in await entries(rig, last)} == {"row.restore"}
    assert await settings(rig) == before
    assert await complaints(rig) == []


async def settings(rig: Rig) -> list[Any]:
    """All rows, but for what a policy says of its last change."""
    store, org = rig.store, rig.org
    policies = [(one.kind, one.max_age_ms, one.max_bytes) for one in await store.policies_of(org)]
    found = [await ask(org, 100, None) for ask in (store.budgets, store.prices, store.alert_rules)]
    return [*map(list, found), policies]


async def test_a_budget_that_is_made_anew_has_counted_what_was_spent(rig: Rig, backend: Backend) -> None:
    ids = [await budget(rig, name) for name in ("kept", "lost")]
    await rig.append(spending("a", 7 * DOLLAR))
    lose(backend, "budget", f" WHERE budget_id = '{ids[1]}'")
    await rebuilt(rig)
    rows = [await rig.store.budget(rig.org, one) for one in ids]
    assert [row.spent_nanos for row in rows if row is not None] == [7 * DOLLAR] * 2


async def test_a_budget_that_is_made_anew_holds_what_is_reserved_of_it(rig: Rig, backend: Backend) -> None:
    """Else more is granted than it has, and the end of a reservation takes away what others hold."""
    ids = [await budget(rig, name) for name in ("kept", "lost")]
    await rig.append(spending("a", DOLLAR))
    [run] = await rig.store.runs(rig.org, RunFilter(), 10, None)
    granted = [(await rig.do(ReserveBudget(run.run_id, nanos))).reservation_id for nanos in (40 * DOLLAR, 2 * DOLLAR)]
    before = [await rig.store.budget(rig.org, one) for one in ids]
    lose(backend, "budget", f" WHERE budget_id = '{ids[1]}'")
    await rebuilt(rig)
    rows = [await rig.store.budget(rig.org, one) for one in ids]
    assert rows == before
    assert [row.reserved_nanos for row in rows if row is not None] == [42 * DOLLAR] * 2
    assert (await rig.do(ReserveBudget(run.run_id, 60 * DOLLAR))).reservation_id is None
    await rig.do(ReleaseReservation(granted[0]))
    rows = [await rig.store.budget(rig.org, one) for one in ids]
    assert [row.reserved_nanos for row in rows if row is not None] == [2 * DOLLAR] * 2
    assert await complaints(rig) == []


async def test_a_reservation_that_is_lost_is_found_and_held_no_more(rig: Rig, backend: Backend) -> None:
    one = await budget(rig)
    await rig.append(spending("a", DOLLAR))
    [run] = await rig.store.runs(rig.org, RunFilter(), 10, None)
    for nanos in (40 * DOLLAR, 2 * DOLLAR):
        lost = (await rig.do(ReserveBudget(run.run_id, nanos))).reservation_id
    lose(backend, "reservation", f" WHERE reservation_id = '{lost}'")
    assert await complaints(rig) == [
        f"budget {one}: holds $42.00 for reservations, and those that are open come to $40.00"
    ]
    assert await rebuilt(rig) == []
    assert await complaints(rig) == []
    row = await rig.store.budget(rig.org, one)
    assert row is not None
    assert (row.reserved_nanos, row.held_by) == (40 * DOLLAR, {rig.principal.key_id: 40 * DOLLAR})


@pytest.mark.parametrize("then", ["money", "deleted"])
async def test_runs_that_a_lost_budget_has_paused_go_on_once_it_is_there_again(
    rig: Rig, backend: Backend, then: str
) -> None:
    made = CreateBudget("tight", BudgetScope(organisation=True), DOLLAR, Period.TOTAL, BudgetAction.PAUSE)
    budget_id = (await rig.do(made)).row.budget_id
    await rig.append(spending("a", 2 * DOLLAR))
    await rig.engine.sweep()
    [run] = await rig.store.runs(rig.org, RunFilter(), 10, None)
    assert [one.type for one in run.pending] == ["pause"]
    lose(backend, "budget")
    await rebuilt(rig)
    change = DeleteBudget(budget_id) if then == "deleted" else ChangeBudget(budget_id, amount_nanos=50 * DOLLAR)
    await rig.do(change)
    await rig.engine.sweep()
    [run] = await rig.store.runs(rig.org, RunFilter(), 10, None)
    assert [one.type for one in run.pending] == ["resume"]
    assert await complaints(rig) == []


async def paused_by(rig: Rig, name: str) -> str:
    """The id of a budget that has paused a run."""
    made = CreateBudget(name, BudgetScope(organisation=True), DOLLAR, Period.TOTAL, BudgetAction.PAUSE)
    budget_id: str = (await rig.do(made)).row.budget_id
    await rig.append(spending("a", 2 * DOLLAR))
    await rig.engine.sweep()
    [run] = await rig.store.runs(rig.org, RunFilter(), 10, None)
    assert [one.type for one in run.pending] == ["pause"]
    return budget_id


@pytest.mark.parametrize("way", ["gone", "deleted"])
async def test_runs_of_a_budget_that_stays_away_are_asked_to_go_on(rig: Rig, backend: Backend, way: str) -> None:
    """One of which the audit does not tell all, and one that was deleted: its row was there until its runs went on."""
    budget_id = await paused_by(rig, "tight" if way == "deleted" else "t" * 600)
    if way == "deleted":
        await rig.do(DeleteBudget(budget_id))
    lose(backend, "budget")
    assert f"budget {budget_id}: has paused a run, and is not there" in await complaints(rig)
    assert [one.state for one in await rebuilt(rig)] == ([] if way == "deleted" else [None])
    assert await complaints(rig) == []
    await rig.engine.sweep()
    [run] = await rig.store.runs(rig.org, RunFilter(), 10, None)
    assert [one.type for one in run.pending] == ["resume"]
    assert await complaints(rig) == []
    assert await rig.store.budgets_pausing(rig.org) == {}
    assert await rig.store.budget(rig.org, budget_id) is None


async def test_a_budget_that_has_forgotten_what_it_has_paused_is_found(rig: Rig, backend: Backend) -> None:
    budget_id = await paused_by(rig, "tight")
    forge(backend, in_doc(backend, "budget", ',"has_paused":true', ""))
    rig.engine.forget()
    assert await complaints(rig) == [f"budget {budget_id}: has paused a run, and does not know of it"]
    await rebuilt(rig)
    assert await complaints(rig) == []
    await rig.do(ChangeBudget(budget_id, amount_nanos=50 * DOLLAR))
    await rig.engine.sweep()
    [run] = await rig.store.runs(rig.org, RunFilter(), 10, None)
    assert [one.type for one in run.pending] == ["resume"]


async def test_what_the_audit_holds_a_part_of_is_gone(rig: Rig, backend: Backend) -> None:
    """The address of a webhook stands in no entry, nor what its messages are signed with; nor a text beyond its
    bound."""
    hook = (await rule(rig)).rule_id
    long = (await rig.do(CreatePrice("m" * 600, COUNTED))).row.price_id
    last = await newest(rig)
    lose(backend, "alert_rule")
    lose(backend, "price")
    assert [(one.lost.id, one.state) for one in await rebuilt(rig)] == [(long, None), (hook, None)]
    assert [action for _, action, _ in await entries(rig, last)] == ["row.lose", "row.lose"]
    assert await complaints(rig) == []


async def test_an_organisation_whose_own_row_is_lost_is_there_again(rig: Rig, backend: Backend) -> None:
    """Its number is given to nobody else meanwhile: who got it would see all that is stored."""
    other = await rig.make_org("other")
    renamed = Org(other.org, other.org_id, "another", rig.clock.now_ms())
    said = organisation_renamed(
        SERVER, other.org, Org(other.org, other.org_id, "other", 0), renamed, rig.clock.now_ms()
    )
    await rig.store.org_rename(renamed, [said])
    await rig.do(CreateMember("ada", Role.VIEWER), principal=other)
    await rig.append(spending("a", DOLLAR))
    before = await rig.store.orgs()
    counters = [await rig.store.counters(one.org) for one in before]
    lose(backend, "org")
    if backend.location.startswith("postgres"):
        lose(backend, "org_count")
    assert await rig.store.orgs_lost() == [one.org for one in before]
    with pytest.raises(StorageFailed, match="organisation number 1 has no row"):
        await rig.make_org("thief")
    assert await rig.store.orgs() == []
    for number in await rig.store.orgs_lost():
        assert await put_org_back(rig.store, number, rig.clock.now_ms()) is not None
    assert await rig.store.orgs_lost() == []
    assert await rig.store.orgs() == before
    assert [await rig.store.counters(one.org) for one in before] == counters
    for one in before:
        found: list[str] = []
        assert await verify_org(rig.store, one.org, found.append) == 0, found
    assert [action for _, action, _ in await entries(rig, 1)] == ["row.restore"]


async def test_an_organisation_whose_name_another_has_by_now_says_so(rig: Rig, backend: Backend) -> None:
    other = await rig.make_org("other")
    lose(backend, "org", f" WHERE org = {other.org}")
    # By its number it would be refused: a row behind it is there.
    forge(backend, f"UPDATE org SET name = 'other' WHERE org = {rig.org}")
    back = await put_org_back(rig.store, other.org, rig.clock.now_ms())
    assert back is not None
    assert (back.org.name, back.told_name) == (other.org_id, "other")
    found: list[str] = []
    assert await verify_org(rig.store, other.org, found.append) == 0, found


async def test_a_removal_whose_row_is_lost_goes_on(rig: Rig, backend: Backend) -> None:
    """Else who had no rights any more has them again, and what was to be erased stays."""
    principal = await rig.make_org("other")
    await rig.do(CreateMember("ada", Role.ADMIN), principal=principal)
    own, other = await rig.store.orgs()
    removed = removed_now(other, await rig.store.org_holds(other.org), rig.clock.now_ms())
    await rig.store.org_remove(removed, [organisation_removed(SERVER, own.org, removed)])
    last = await newest(rig)
    assert await lost_removals(rig.store) == []
    lose(backend, "removed_org")
    assert [one.org_id for one in await rig.store.orgs()] == [own.org_id, other.org_id], "it is back"
    [lost] = await lost_removals(rig.store)
    assert lost == (removed, own, last)
    await remove_again(rig.store, lost, rig.clock.now_ms())
    assert await rig.store.orgs() == [own]
    assert await rig.store.orgs_erasing() == [removed]
    assert await entries(rig, last) == [("server", "row.restore", other.org_id)]
    assert await complaints(rig) == []
    assert await lost_removals(rig.store) == []


async def test_an_audit_whose_chain_does_not_hold_ends_no_organisation(rig: Rig, backend: Backend) -> None:
    await rig.make_org("other")
    own, other = await rig.store.orgs()
    removed = removed_now(other, await rig.store.org_holds(other.org), rig.clock.now_ms())
    await rig.store.org_remove(removed, [organisation_removed(SERVER, own.org, removed)])
    lose(backend, "removed_org")
    forge(backend, in_doc(backend, "audit_entry", '"name":"other"', '"name":"0ther"'))
    assert await lost_removals(rig.store) == []


async def test_a_row_that_differs_is_left_to_people(rig: Rig, backend: Backend) -> None:
    await budget(rig)
    forge(backend, in_doc(backend, "budget", '"amount_nanos":100', '"amount_nanos":900'))
    rig.engine.forget()
    await rebuild_org(rig.store, rig.org)
    found: list[str] = []
    await check_audit(rig.store, found.append, rig.org, lambda lost: found.append(lost.id))
    [line] = found
    assert "differs from audit entry" in line
