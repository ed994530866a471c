"""Commands about members in one group: each finds what those before it have left."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.support.rig import Rig
from towerlog.errors import Unauthenticated
from towerlog.model.command import Write
from towerlog.model.member import (
    ChangeMember,
    CreateMember,
    EndSessions,
    MakeSignInLink,
    RemoveMember,
    SetPassword,
    StartSession,
    link_digest,
)
from towerlog.model.principal import SCOPES_OF_ROLE, Principal, Role


async def member(rig: Rig, name: str) -> Principal:
    """One who administers, as it is known by its session."""
    user = (await rig.do(CreateMember(name, Role.ADMIN))).user
    return msgspec.structs.replace(
        rig.principal, user_id=user.user_id, key_id=user.user_id, scopes=SCOPES_OF_ROLE[user.role], is_member=True
    )


@pytest.mark.parametrize(
    "act",
    ["the maker is removed", "the maker is demoted", "the member is removed", "its sessions end", "it has a password"],
)
async def test_a_link_that_ends_in_the_very_group_signs_nobody_in(rig: Rig, act: str) -> None:
    ann, bob, _ = [await member(rig, name) for name in ("Ann", "Bob", "Cid")]
    made = await rig.do(MakeSignInLink(ann.user_id), principal=bob)
    asked: dict[str, tuple[Write, Principal]] = {
        "the maker is removed": (RemoveMember(bob.user_id), rig.principal),
        "the maker is demoted": (ChangeMember(bob.user_id, role=Role.OPERATOR), rig.principal),
        "the member is removed": (RemoveMember(ann.user_id), rig.principal),
        "its sessions end": (EndSessions(ann.user_id), rig.principal),
        "it has a password": (SetPassword("a hash"), ann),
    }
    command, by = asked[act]
    start = StartSession(b"towerlog", link_digest(made.text))
    groups = rig.engine.figures()["groups"]
    _, begun = await asyncio.gather(rig.do(command, principal=by), rig.do(start, principal=ann), return_exceptions=True)
    assert rig.engine.figures()["groups"] == groups + 1
    assert isinstance(begun, Unauthenticated)


async def test_of_two_who_use_a_link_in_one_group_one_gets_in(rig: Rig) -> None:
    ann = await member(rig, "Ann")
    made = await rig.do(MakeSignInLink(ann.user_id))
    start = StartSession(b"towerlog", link_digest(made.text))
    done = await asyncio.gather(*[rig.do(start, principal=ann) for _ in range(5)], return_exceptions=True)
    assert [isinstance(one, Unauthenticated) for one in done] == [False, True, True, True, True]


async def test_a_removal_leaves_no_session_and_no_link(rig: Rig) -> None:
    """Not even rows of which somebody else has to say that they are not good any more."""
    ann, _ = [await member(rig, name) for name in ("Ann", "Bob")]
    made = await rig.do(MakeSignInLink(ann.user_id))
    begun = await rig.do(StartSession(b"towerlog"), principal=ann)
    assert await rig.store.key_by_digest(begun.session.digest) is not None
    await rig.do(RemoveMember(ann.user_id))
    assert await rig.store.key_by_digest(begun.session.digest) is None
    assert await rig.store.link_by_digest(made.link.digest) is None
