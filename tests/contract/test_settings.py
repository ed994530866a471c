"""What people have set is held against the newest entry of the audit about it, whichever store it is in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.support.backends import Backend
from tests.support.postgres import cluster
from tests.support.rig import Rig, open_rig
from towerlog.engine.audit import chain
from towerlog.engine.audit.outside import organisation_renamed
from towerlog.engine.audit.settings import read_settings
from towerlog.engine.verify import verify_org
from towerlog.model.alert import AlertConfig, AlertRule, AlertScope, AlertTrigger, ChangeRule, CreateRule, DeleteRule
from towerlog.model.alert_channel import AlertChannel, ChannelSecret, ChannelType
from towerlog.model.audit import SERVER
from towerlog.model.budget import BudgetAction, BudgetScope, ChangeBudget, CreateBudget, DeleteBudget, Period
from towerlog.model.command import CreateKey, RevokeKey
from towerlog.model.facts import Erases
from towerlog.model.member import ChangeMember, CreateMember, RemoveMember, SetPassword, StartSession
from towerlog.model.price import FEMTOS_PER_NANO, CreatePrice, DeletePrice, Rates
from towerlog.model.principal import Principal, Role, Scope
from towerlog.model.retention import ClearRetention, SetRetention

# What is secret is held against its digest in each backend.
pytestmark = pytest.mark.every_value


DOLLAR = 10**9
COUNTED = Rates(input=3 * FEMTOS_PER_NANO, output=15 * FEMTOS_PER_NANO)
SECRET = "whsec_" + "QUJD" * 8


@pytest.fixture
async def rig(backend: Backend, tmp_path: Path) -> AsyncIterator[Rig]:
    """An engine on the backend, with its organisation."""
    async with open_rig(tmp_path, backend=backend) as opened:
        yield opened


def forge(backend: Backend, *statements: str) -> None:
    """Changes the database behind everybody's back."""
    if backend.location.startswith("postgres"):
        name = backend.location.partition("?")[0].rpartition("/")[2]
        for one in statements:
            cluster().sql(one.replace("user SET", "org_user SET").replace("x''", "''"), name)
        return
    with closing(apsw.Connection(backend.location)) as db:
        db.set_busy_timeout(10_000)
        for one in statements:
            before = db.total_changes()
            db.execute(one)
            assert db.total_changes() > before, one


def in_doc(backend: Backend, table: str, was: str, now: str) -> str:
    """Changes some letters of all rows of a table."""
    if backend.location.startswith("postgres"):
        text = f"convert_to(replace(convert_from(doc, 'UTF8'), '{was}', '{now}'), 'UTF8')"
    else:
        text = f"CAST(replace(CAST(doc AS TEXT), '{was}', '{now}') AS BLOB)"
    return f"UPDATE {table} SET doc = {text}"


async def complaints(rig: Rig) -> list[str]:
    found: list[str] = []
    assert await verify_org(rig.store, rig.org, found.append) == len(found)
    return found


async def newest(rig: Rig) -> int:
    return (await rig.store.audit_head(rig.org)).number


async def budget(rig: Rig, name: str = "all") -> str:
    made = CreateBudget(name, BudgetScope(organisation=True), 100 * DOLLAR, Period.MONTH, BudgetAction.WARN)
    budget_id: str = (await rig.do(made)).row.budget_id
    return budget_id


async def rule(rig: Rig, name: str = "errors") -> AlertRule:
    hook = AlertChannel(ChannelType.WEBHOOK, "https://hooks.example.com/a", (ChannelSecret(SECRET),))
    made = CreateRule(name, AlertTrigger.COST_THRESHOLD, AlertScope(), AlertConfig(amount_nanos=DOLLAR), (hook,))
    kept: AlertRule = (await rig.do(made)).rule
    return kept


async def test_a_changed_digit_is_told_with_its_row_field_and_entry(rig: Rig, backend: Backend) -> None:
    expected = []
    budget_id = await budget(rig)
    expected.append(f"budget {budget_id}: differs from audit entry {await newest(rig)} in amount_usd")
    price = (await rig.do(CreatePrice("house", COUNTED))).row.price_id
    expected.append(f"price {price}: differs from audit entry {await newest(rig)} in usd_per_million")
    watch = (await rule(rig)).rule_id
    expected.append(f"rule {watch}: differs from audit entry {await newest(rig)} in channels, config")
    await rig.do(SetRetention(Erases.EVENTS, 86_400_000, None))
    expected.append(f"retention events: differs from audit entry {await newest(rig)} in max_age_seconds")
    key = (await rig.do(CreateKey("ci", (Scope.READ,)))).key.key_id
    await rig.do(RevokeKey(key))
    expected.append(f"key {key}: differs from audit entry {await newest(rig)} in revoked_at, scopes")
    first = f"key {rig.principal.key_id}: differs from audit entry 1 in name"
    member = (await rig.do(CreateMember("ada", Role.VIEWER))).user.user_id
    expected.append(f"member {member}: differs from audit entry {await newest(rig)} in email, role")
    org = rig.principal.org_id
    assert await complaints(rig) == []
    forge(
        backend,
        in_doc(backend, "budget", '"amount_nanos":100', '"amount_nanos":900'),
        in_doc(backend, "price", '"output":15', '"output":10'),
        in_doc(backend, "alert_rule", '"amount_nanos":1', '"amount_nanos":7'),
        in_doc(backend, "alert_rule", SECRET, f"{SECRET[:-4]}QUJE"),
        in_doc(backend, "retention", "86400000", "16400000"),
        f"UPDATE api_key SET revoked_at = NULL, scopes = 'admin' WHERE key_id = '{key}'",
        "UPDATE api_key SET name = 'root' WHERE name = 'admin'",
        f"UPDATE user SET role = 'admin', email = 'eve@example.com' WHERE user_id = '{member}'",
        "UPDATE org SET name = 'deflault'",
    )
    expected.append(f"member {member}: its name 'eve@example.com' is not kept for it")
    expected += [first, f"organisation {org}: differs from audit entry 1 in name"]
    assert sorted(await complaints(rig)) == sorted(expected)


async def test_what_is_secret_is_held_against_the_digest_that_was_told(rig: Rig, backend: Backend) -> None:
    first, entry = rig.principal.key_id, 1
    by_hint, by_time = [(await rig.do(CreateKey(name, (Scope.READ,)))).key.key_id for name in ("a", "b")]
    keys = await newest(rig)
    await rig.do(SetPassword("scrypt$one"))
    told = await newest(rig)
    assert await complaints(rig) == []
    is_shared = backend.location.startswith("postgres")
    other = "decode(md5(hint), 'hex')" if is_shared else "randomblob(32)"
    forge(
        backend,
        f"UPDATE api_key SET digest = {other} WHERE key_id = '{first}'",
        f"UPDATE api_key SET hint = 'tl_live_x' WHERE key_id = '{by_hint}'",
        f"UPDATE api_key SET created_at = created_at + 64 WHERE key_id = '{by_time}'",
        "UPDATE user SET password = 'scrypt$ond'",
    )
    assert sorted(await complaints(rig)) == sorted(
        [
            f"key {first}: differs from audit entry {entry} in key_digest",
            f"key {by_hint}: differs from audit entry {keys - 1} in key_digest",
            f"key {by_time}: differs from audit entry {keys} in key_digest",
            f"member {rig.principal.user_id}: differs from audit entry {told} in password_digest",
            *[f"api_key {first}: is not found by its digest: who shows it is not let in"] * is_shared,
        ]
    )


async def test_what_was_put_in_or_taken_out_is_told(rig: Rig, backend: Backend) -> None:
    gone = await budget(rig, "gone")
    told = await newest(rig)
    await budget(rig, "kept")
    price = (await rig.do(CreatePrice("house", COUNTED))).row.price_id
    forge(
        backend,
        f"DELETE FROM budget WHERE budget_id = '{gone}'",
        "UPDATE price SET price_id = 'another'",
        in_doc(backend, "price", price, "another"),
    )
    assert await complaints(rig) == [
        f"budget {gone}: is missing, audit entry {told} tells of it",
        f"price {price}: is missing, audit entry {told + 2} tells of it",
        "price another: no entry of the audit tells of it",
    ]


async def test_what_was_deleted_and_is_there_again_is_told(rig: Rig, backend: Backend) -> None:
    key = (await rig.do(CreateKey("ci", (Scope.READ,)))).key.key_id
    member = (await rig.do(CreateMember("ada", Role.VIEWER))).user.user_id
    await rig.do(RemoveMember(member))
    removed = await newest(rig)
    await rig.do(RevokeKey(key))
    forge(backend, "UPDATE api_key SET revoked_at = NULL", "UPDATE user SET removed_at = NULL")
    assert sorted(await complaints(rig)) == [
        f"key {key}: differs from audit entry {removed + 1} in revoked_at",
        f"member {member}: differs from audit entry {removed} in removed_at",
        f"member {member}: its name 'ada' is not kept for it",
        f"member {member}: the name 'ada' is kept for it, and not its own",
    ]


async def test_whatever_people_set_differs_in_nothing(rig: Rig) -> None:
    """Each kind of object is made, changed, left as it is and ended; what is no setting is not held."""
    ids = [await budget(rig, name) for name in ("one", "two")]
    await rig.do(ChangeBudget(ids[0], amount_nanos=7 * DOLLAR))
    await rig.do(ChangeBudget(ids[0], amount_nanos=7 * DOLLAR))
    await rig.do(DeleteBudget(ids[1]))
    prices = [(await rig.do(CreatePrice(model, COUNTED, since=5))).row.price_id for model in ("a", "b")]
    await rig.do(DeletePrice(prices[0]))
    rules = [await rule(rig, name) for name in ("one", "two")]
    await rig.do(ChangeRule(rules[0].rule_id, enabled=False))
    await rig.do(DeleteRule(rules[1].rule_id))
    for kind in (Erases.EVENTS, Erases.DELTAS):
        await rig.do(SetRetention(kind, 3_600_000, 9))
    await rig.do(ClearRetention(Erases.DELTAS))
    keys = [(await rig.do(CreateKey(name, (Scope.INGEST, Scope.READ)))).key for name in ("a", "tl_live_" + "x" * 600)]
    await rig.do(RevokeKey(keys[0].key_id))
    await people(rig)
    assert await complaints(rig) == []


async def people(rig: Rig) -> None:
    """Members who are made, changed, removed; who join by an identity provider, and set a password."""
    ada = (await rig.do(CreateMember("ada", Role.VIEWER, "ada@example.com"))).user.user_id
    await rig.do(ChangeMember(ada, name="Ada", email=None, role=Role.OPERATOR))
    as_ada = Principal(rig.org, rig.principal.org_id, ada, ada, frozenset(Scope), is_member=True)
    await rig.do(SetPassword("$scrypt$slow"), principal=as_ada)
    await rig.do(RemoveMember(ada))
    joins = StartSession(b"c", subject="ben@idp", joins=CreateMember("ben", Role.VIEWER))
    as_ben = Principal(rig.org, rig.principal.org_id, "ben", "ben", frozenset(Scope), is_member=True)
    await rig.do(joins, principal=as_ben)


async def test_an_organisation_is_held_against_its_last_name_and_no_other(rig: Rig) -> None:
    other = await rig.make_org("other")
    [ours, theirs] = await rig.store.orgs()
    renamed = type(theirs)(theirs.org, theirs.org_id, "another", theirs.created_at)
    told = [organisation_renamed(SERVER, org, theirs, renamed, rig.clock.now_ms()) for org in (ours.org, other.org)]
    await rig.store.org_rename(renamed, told)
    for org in (ours.org, theirs.org):
        assert await verify_org(rig.store, org) == 0


async def test_what_is_set_while_it_is_read_is_no_difference(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store on PostgreSQL is read beside its servers."""
    changed = await budget(rig)
    gone = await budget(rig, "gone")

    async def reading(*args: Any) -> Any:
        await rig.do(ChangeBudget(changed, amount_nanos=7 * DOLLAR))
        await rig.do(DeleteBudget(gone))
        await budget(rig, "new")
        found = await read_settings(*args)
        await rig.do(ChangeBudget(changed, amount_nanos=8 * DOLLAR))
        return found

    monkeypatch.setattr(chain, "read_settings", reading)
    assert await complaints(rig) == []
    monkeypatch.undo()
    assert await complaints(rig) == []


async def test_an_audit_that_is_not_whole_is_no_evidence(rig: Rig, backend: Backend) -> None:
    await budget(rig)
    forge(
        backend,
        "UPDATE audit_entry SET at = at - 9 WHERE action = 'budget.create'",
        in_doc(backend, "budget", '"amount_nanos":100', '"amount_nanos":900'),
    )
    assert await complaints(rig) == ["audit entry 2: its columns do not say what the entry says"]


async def test_a_row_that_cannot_be_read_hides_no_other(rig: Rig, backend: Backend) -> None:
    await rig.do(CreatePrice("house", COUNTED))
    await rig.do(SetRetention(Erases.EVENTS, 86_400_000, None))
    forge(backend, in_doc(backend, "price", "{", ""), in_doc(backend, "retention", "86400000", "16400000"))
    found = await complaints(rig)
    assert any(one.startswith("price: cannot be held against the audit: ") for one in found), found
    assert "retention events: differs from audit entry 3 in max_age_seconds" in found


async def test_one_who_joined_is_held_against_the_first_session(rig: Rig, backend: Backend) -> None:
    await people(rig)
    told = await newest(rig)
    forge(backend, "UPDATE user SET role = 'admin' WHERE name = 'ben'")
    assert await complaints(rig) == [f"member ben: differs from audit entry {told} in role"]
