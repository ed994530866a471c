"""Of each table of the store it is known what becomes of it when its rows are lost: a new table has to say it too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.contract.test_removal import OF_NOBODY, columns, live
from tests.contract.test_settings import DOLLAR, forge
from tests.engine.alerts.alerting import failure, make, spending, start
from tests.support.backends import Backend
from tests.support.rig import Rig, open_rig
from tests.support.samples import slow
from towerlog.cli.findings import Findings
from towerlog.cli.lost_rows import Settled
from towerlog.cli.maintenance import rebuild_store, verify_store
from towerlog.engine.audit.outside import organisation_removed
from towerlog.engine.erasure.removal import removed_now
from towerlog.errors import Damaged, LeaseLost
from towerlog.model.alert import AlertConfig, AlertTrigger
from towerlog.model.audit import SERVER
from towerlog.model.budget import BudgetAction, BudgetScope, CreateBudget, Period, ReserveBudget
from towerlog.model.command import Claim, CreateKey, CreateRun, Report
from towerlog.model.event import EventType
from towerlog.model.lane import Lane, QueueState
from towerlog.model.member import CreateMember, MakeSignInLink, StartSession
from towerlog.model.outcome import NothingToClaim
from towerlog.model.persona import CreatePersona, CreateRoute
from towerlog.model.price import CreatePrice, Rates
from towerlog.model.principal import Principal, Role, Scope
from towerlog.model.question import RunFilter
from towerlog.model.retention import MarkErased
from towerlog.store.values import Changes, Quarantined, Spread, StoredReply


class Loss(NamedTuple):
    """What becomes of a table whose rows are lost."""

    is_told: bool
    """`verify` finds it."""
    is_mended: bool
    """After a rebuild it finds nothing any more: the rows are there again, or are told as gone."""


ANEW = Loss(is_told=True, is_mended=True)
"""From the log, the audit or other rows."""
GONE = Loss(is_told=True, is_mended=True)
"""An entry of the audit tells that it is gone, and what was there."""
FOR_GOOD = Loss(is_told=True, is_mended=False)
"""Nothing else tells what stood there: a backup does."""
UNSEEN = Loss(is_told=False, is_mended=False)
"""Nothing else speaks of it. What that costs stands beside each, and on the page about backups."""
LOSSES: Mapping[str, Loss] = {
    **dict.fromkeys(("run", "thread", "agent", "usage", "checkpoint", "approval"), ANEW),
    # Runs of before texts were kept have none, so nobody can tell; a rebuild writes them.
    "run_text": UNSEEN,
    **dict.fromkeys(("org", "org_count", "removed_org", "user", "org_user", "user_name", "credential"), ANEW),
    **dict.fromkeys(("budget", "reservation", "price", "retention", "lane", "erasing"), ANEW),
    **dict.fromkeys(("api_key", "persona", "provider_route", "alert_rule"), GONE),
    **dict.fromkeys(("event", "place", "audit_entry", "message", "node", "meta_list"), FOR_GOOD),
    # Members sign in again, and take another link.
    **dict.fromkeys(("session", "sign_in_link"), UNSEEN),
    # A link that was used opens again, and finds its question closed.
    "spent_link": UNSEEN,
    # A request that is repeated under its key is carried out once more.
    "reply": UNSEEN,
    # What was fired and sent is not known any more; what was to be sent is not sent; a rule may fire again.
    **dict.fromkeys(("alert", "alert_window", "delivery", "delivery_body"), UNSEEN),
    # What late workers have sent.
    "quarantine": UNSEEN,
    # Who asks for the cancel once more reaches those that were left.
    "cancel_spread": UNSEEN,
    # Runs that a budget has paused stay so until a person resumes them: nothing else tells whether a person has taken
    # them over.
    "budget_pause": UNSEEN,
    # No version of the server trims.
    "trim": UNSEEN,
    # Held against digests by the check of the file.
    **dict.fromkeys(OF_NOBODY, FOR_GOOD),
}
OF_ONE = {"postgres": {"org_user", "org_count", "credential", "place"}, "sqlite": {"user"}}
"""Tables that one backend has."""
QUICK = ("lane", "erasing", "persona")
LABELS, LEASE_MS = {"gpu": "yes"}, 60_000


@pytest.fixture
async def rig(backend: Backend, tmp_path: Path) -> AsyncIterator[Rig]:
    """An engine on the backend, with its organisation."""
    async with open_rig(tmp_path, backend=backend) as opened:
        yield opened


async def fill(rig: Rig) -> None:
    """Something in every table."""
    await live(rig, rig.principal)
    await rig.append(start("ends", "b"), failure("ends", "b"), start("paused"), spending("paused", 1))
    for name, scope in (("tight", BudgetScope(agent="writer")), ("wide", BudgetScope(agent="b"))):
        amount = DOLLAR if name == "wide" else 2
        await rig.do(CreateBudget(name, scope, amount, Period.TOTAL, BudgetAction.PAUSE))
    await make(rig, AlertTrigger.ERROR)
    await make(rig, AlertTrigger.BURN_RATE, config=AlertConfig(amount_nanos=DOLLAR, window_ms=120_000))
    await rig.append(spending("paused", 5), start("fails", "b"), spending("fails", 1, "b"))
    runs = {row.trace_id: row for row in await rig.store.runs(rig.org, RunFilter(), 20, None)}
    await rig.do(ReserveBudget(runs["fails"].run_id, 7))
    await rig.append(failure("c1", "c"))
    await rig.engine.sweep()
    ada = (await rig.do(CreateMember("ada", Role.VIEWER, "ada@example.com"))).user
    await rig.do(MakeSignInLink(ada.user_id))
    as_ada = Principal(rig.org, rig.principal.org_id, ada.user_id, ada.user_id, frozenset(Scope), is_member=True)
    await rig.do(StartSession(b"cookie"), principal=as_ada)
    await rig.do(CreateKey("ci", (Scope.READ,)))
    await rig.do(CreatePersona("p", "1", "a"))
    await rig.do(CreateRoute("r", "openai", "m"))
    await rig.do(CreatePrice("house", Rates(input=3, output=4)))
    await rig.do(MarkErased(runs["ends"].run_id))
    changes = Changes()
    run = runs["one"].run
    changes.spreads[run] = Spread(run, rig.org)
    changes.spent_links[rig.org, "nonce"] = 10**15
    changes.replies = [StoredReply(rig.org, "r", b"d", 200, b"{}", rig.clock.now_ms())]
    changes.quarantined = [Quarantined(rig.org, run, 1, "w", 1, "step", None, b"{}")]
    async with rig.store.begin() as unit:
        await unit.commit(changes)
    other = await rig.make_org("other")
    [org] = [one for one in await rig.store.orgs() if one.org == other.org]
    removed = removed_now(org, await rig.store.org_holds(org.org), rig.clock.now_ms())
    await rig.store.org_remove(removed, [organisation_removed(SERVER, rig.org, removed)])


async def differences(rig: Rig) -> list[str]:
    findings = Findings()
    await verify_store(rig.store, findings)
    return findings.shown


async def rebuilt(rig: Rig) -> Settled:
    settled = Settled()
    await rebuild_store(rig.store, rig.clock, [], Findings(), settled)
    rig.engine.forget()
    return settled


def test_of_each_table_it_is_known_what_its_loss_does(backend: Backend, backend_name: str) -> None:
    backend.make()
    others = set().union(*(tables for name, tables in OF_ONE.items() if name != backend_name))
    assert set(columns(backend)) | OF_NOBODY == LOSSES.keys() - others


@pytest.mark.parametrize(
    "table",
    [name if name in QUICK else slow(name) for name in sorted(LOSSES.keys() - OF_NOBODY)],
)
async def test_what_is_lost_is_told_and_mended_as_it_is_known(
    rig: Rig, backend: Backend, backend_name: str, table: str
) -> None:
    if any(table in tables for name, tables in OF_ONE.items() if name != backend_name):
        return
    await fill(rig)
    assert await differences(rig) == []
    if table != "trim":
        forge(backend, f"DELETE FROM {table}")
    loss = LOSSES[table]
    assert bool(await differences(rig)) is loss.is_told
    try:
        await rebuilt(rig)
    except Damaged:
        assert loss is FOR_GOOD, "the log itself"
        return
    assert bool(await differences(rig)) is (loss.is_told and not loss.is_mended)


async def lane_of(rig: Rig, run_id: str) -> Lane:
    lane = await rig.store.lane(rig.org, (await rig.run(run_id)).run)
    assert lane is not None
    return lane


async def test_a_run_whose_lane_is_lost_is_claimed_as_before(rig: Rig, backend: Backend) -> None:
    """With its labels, in its thread's order; and whoever held it is told to stop."""
    made = [(await rig.do(CreateRun("t", agent="a", labels=LABELS))).run_id for _ in range(2)]
    held = (await rig.do(CreateRun("u", agent="held"))).run_id
    taken = await rig.do(Claim("w1", LEASE_MS, ("held",)))
    before = [await lane_of(rig, one) for one in made]
    forge(backend, "DELETE FROM lane")
    rig.engine.forget()
    assert len(await differences(rig)) == 3
    assert len((await rebuilt(rig)).restored) == 3
    assert [await lane_of(rig, one) for one in made] == before
    with pytest.raises(LeaseLost):
        await rig.do(Report(held, "w1", [], lease_epoch=taken.lane.epoch))
    again = await rig.do(Claim("w2", LEASE_MS, ("held",)))
    assert (again.lane.run, again.lane.epoch) == (taken.lane.run, taken.lane.epoch + 1)
    assert isinstance(await rig.do(Claim("w3", LEASE_MS, ("a",))), NothingToClaim), "without its labels"
    assert (await rig.do(Claim("w3", LEASE_MS, ("a",), LABELS))).lane.run == before[0].run
    assert (await lane_of(rig, made[1])).state is QueueState.BLOCKED
    assert await differences(rig) == []


async def test_an_erasure_whose_row_is_lost_goes_on(rig: Rig, backend: Backend) -> None:
    """Else what somebody has asked to be erased stays for good, though the log says that it is gone."""
    await rig.append(start("ends", "b"), failure("ends", "b"))
    [run] = await rig.store.runs(rig.org, RunFilter(), 10, None)
    await rig.do(MarkErased(run.run_id))
    forge(backend, "DELETE FROM erasing")
    assert await differences(rig) == [
        f"default: run {run.run_id}: what its seq 3 says was erased is still there in part"
    ]
    made = (await rebuilt(rig)).restored
    assert [f"run {run.run_id}: the erasure" in line for line in made] == [True]
    async with rig.store.begin() as unit:
        while (erasing := await unit.erase(run.run)) is not None and not erasing.is_done:
            pass
    assert [event.type for event in await rig.events(run.run_id)] == [EventType.ERASED] * 2 + [EventType.RUN_ERASED]
    assert await differences(rig) == []
    assert (await rebuilt(rig)).restored == []


async def test_a_persona_that_is_lost_is_told_and_may_be_made_again(rig: Rig, backend: Backend) -> None:
    for command in (CreatePersona("p", "1", "a"), CreateRoute("r", "openai", "m")):
        await rig.do(command)
    for table in ("persona", "provider_route"):
        forge(backend, f"DELETE FROM {table}")
    rig.engine.forget()
    assert len(await differences(rig)) == 2
    assert [line.split(": ")[1] for line in (await rebuilt(rig)).gone] == ["persona p@1", "route r (m)"]
    assert await differences(rig) == []
    for again in (CreatePersona("p", "1", "a"), CreateRoute("r", "openai", "m"), CreateRoute("r", "openai", "m2")):
        assert (await rig.do(again)).created
    assert await differences(rig) == []
