"""Organisations and keys: what is minted, what is kept of it, and that a revocation is one for good."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.rig import Rig, open_rig
from towerlog.engine.bootstrap import DEFAULT_ORG, create_org, first_start
from towerlog.engine.commands.keys import kind_of, mint_key
from towerlog.errors import Conflict, NotFound
from towerlog.model.command import CreateKey, RevokeKey
from towerlog.model.key import CHECKSUM_LENGTH, SECRET_LENGTH, digest_of, hint_of, is_intact
from towerlog.model.principal import Scope

BOOTSTRAP = "an-operators-own-secret-of-forty-letters"


@pytest.mark.parametrize(
    ("scopes", "kind"),
    [
        ((Scope.ADMIN,), "adm"),
        (tuple(Scope), "adm"),
        ((Scope.READ,), "ro"),
        ((Scope.WORKER,), "lane"),
        ((Scope.INGEST,), "live"),
        ((Scope.READ, Scope.WORKER), "live"),
        ((), "live"),
    ],
)
def test_the_prefix_of_a_key_tells_what_it_may_do(scopes: tuple[Scope, ...], kind: str) -> None:
    assert kind_of(scopes) == kind


async def test_a_new_organisation_has_one_user_and_one_admin_key(rig: Rig) -> None:
    minted = await create_org(rig.store, rig.clock, rig.ids, "acme")
    assert [org.name for org in await rig.store.orgs()] == ["default", "acme"]
    assert minted.org.org not in (0, rig.org)
    [key] = await rig.store.keys(minted.org.org, 10, None)
    assert key == minted.key
    assert (key.org, set(key.scopes), key.revoked_at) == (minted.org.org, set(Scope), None)
    users = await rig.store.users(minted.org.org, [key.user_id])
    assert (users[key.user_id].name, users[key.user_id].created_at) == ("admin", rig.clock.now_ms())


async def test_only_the_hash_of_a_key_is_kept(rig: Rig) -> None:
    minted = await create_org(rig.store, rig.clock, rig.ids, "acme")
    assert is_intact(minted.text)
    assert minted.text.startswith("tl_adm_")
    found = await rig.store.key_by_digest(digest_of(minted.text))
    assert found is not None
    assert (found.key, found.org_id) == (minted.key, minted.org.org_id)
    secret = minted.text[-SECRET_LENGTH - CHECKSUM_LENGTH :].encode()
    await rig.engine.stop()
    kept = b"".join(path.read_bytes() for path in rig.store.path.parent.iterdir())
    assert minted.key.digest in kept
    parts = [secret[at : at + 5] for at in range(len(secret) - 4)]
    assert [part for part in parts if part in kept] == [], "not even a part of it"


async def test_a_name_is_taken_once(rig: Rig) -> None:
    await create_org(rig.store, rig.clock, rig.ids, "acme")
    with pytest.raises(Conflict, match="acme"):
        await create_org(rig.store, rig.clock, rig.ids, "acme")
    assert len(await rig.store.orgs()) == 2


async def test_the_first_start_makes_one_organisation_and_later_ones_none(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        assert await first_start(rig.store, rig.clock, rig.ids, BOOTSTRAP) is None
        assert await rig.store.key_by_digest(digest_of(BOOTSTRAP)) is None, "a known store takes no other admin key"
        assert len(await rig.store.orgs()) == 1


@pytest.mark.parametrize("given", [BOOTSTRAP, ""])
async def test_the_first_start_takes_the_operators_key_or_mints_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.store.writer.call(
            lambda db: [
                *map(
                    db.execute,
                    (f"DELETE FROM {table}" for table in ("org", "user", "user_name", "api_key", "audit_entry")),
                )
            ]
        )
        minted = await first_start(rig.store, rig.clock, rig.ids, given)
        assert minted is not None
        assert minted.org.name == DEFAULT_ORG
        assert is_intact(minted.text) == (not given)
        assert not given or minted.text == given
        assert minted.key.hint == hint_of(minted.text)
        found = await rig.store.key_by_digest(digest_of(minted.text))
        assert found is not None
        assert found.key.key_id == minted.key.key_id


async def test_a_key_is_of_its_makers_user_and_organisation(rig: Rig) -> None:
    other = await rig.make_org("other")
    minted = await rig.do(CreateKey("ci", (Scope.READ,)), principal=other)
    assert minted.text.startswith("tl_ro_")
    key = minted.key
    assert (key.org, key.user_id, key.name, key.scopes) == (other.org, other.user_id, "ci", (Scope.READ,))
    found = await rig.store.key_by_digest(digest_of(minted.text))
    assert found is not None
    assert (found.key, found.org_id) == (key, other.org_id)
    assert minted.text not in repr(key)


async def test_no_two_keys_are_alike(rig: Rig) -> None:
    minted = [mint_key(rig.clock, rig.ids, rig.org, "user", "same", (Scope.READ,)) for _ in range(50)]
    for told in ({one.text for one in minted}, {one.key.digest for one in minted}, {one.key.key_id for one in minted}):
        assert len(told) == 50


async def test_a_revocation_is_for_good_and_keeps_its_time(rig: Rig) -> None:
    minted = await rig.do(CreateKey("ci", (Scope.READ,)))
    rig.clock.advance(1000)
    first = await rig.do(RevokeKey(minted.key.key_id))
    assert first.revoked_at == rig.clock.now_ms()
    rig.clock.advance(1000)
    assert await rig.do(RevokeKey(minted.key.key_id)) == first
    found = await rig.store.key_by_digest(minted.key.digest)
    assert found is not None
    assert found.key == first, "the key stays, to be told from one that never was"


async def test_another_organisations_key_cannot_be_revoked(rig: Rig) -> None:
    minted = await rig.do(CreateKey("ci", (Scope.READ,)))
    other = await rig.make_org("other")
    for key_id in (minted.key.key_id, "nothing"):
        with pytest.raises(NotFound) as caught:
            await rig.do(RevokeKey(key_id), principal=other)
        assert caught.value.kind == "key"
    found = await rig.store.key_by_digest(minted.key.digest)
    assert found is not None
    assert found.key.revoked_at is None
