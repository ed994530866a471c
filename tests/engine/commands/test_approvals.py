"""An answer link is worth what its maker is at the moment of the answer, however close the two are."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.engine.control.test_questions import asking
from tests.support.rig import Rig, open_rig
from tests.support.tables import table
from towerlog.engine.control.unheard import HEARD_LATE_MS
from towerlog.errors import LinkExpired, NotFound
from towerlog.model import command as c
from towerlog.model.alert import AlertConfig, AlertScope, AlertTrigger, ChangeRule, CreateRule, DeleteRule
from towerlog.model.alert_channel import AlertChannel, ChannelType
from towerlog.model.approval import AnswerApproval, AnswerLink, ApprovalRef, MakeAnswerLink
from towerlog.model.member import ChangeMember, CreateMember, RemoveMember, Role
from towerlog.model.principal import Principal, Scope

HOUR_MS = 3_600_000
CHANNEL = AlertChannel(ChannelType.SLACK, "https://hooks.example.com/a")
OTHER = AlertChannel(ChannelType.SLACK, "https://hooks.example.com/b")


def with_link(rig: Rig, link: AnswerLink) -> Principal:
    """Who answers by it, as the page says."""
    who = link.rule_id or link.key_id
    return Principal(
        link.org, link.org_id, link.user_id, who, frozenset({Scope.CONTROL}), is_member=who == link.user_id
    )


async def link_of(rig: Rig, run_id: str, maker: Principal) -> AnswerLink:
    """A link of this maker's to the run's first question."""
    made = await rig.do(MakeAnswerLink(ApprovalRef(run_id, 2), "grace", HOUR_MS), principal=maker)
    link: AnswerLink = made.link
    return link


async def of_key(rig: Rig, run_id: str) -> tuple[AnswerLink, list[Any]]:
    """Of a key, which is revoked."""
    minted = await rig.do(c.CreateKey("links", (Scope.CONTROL,)))
    key = minted.key
    maker = Principal(rig.org, rig.principal.org_id, key.user_id, key.key_id, frozenset(key.scopes))
    return await link_of(rig, run_id, maker), [c.RevokeKey(key.key_id)]


async def of_member(rig: Rig, run_id: str) -> tuple[AnswerLink, list[Any]]:
    """Of a member, who is removed, or may only look."""
    member = (await rig.do(CreateMember("ada", Role.OPERATOR))).user
    maker = Principal(
        rig.org, rig.principal.org_id, member.user_id, member.user_id, frozenset({Scope.CONTROL}), is_member=True
    )
    link = await link_of(rig, run_id, maker)
    return link, [ChangeMember(member.user_id, role=Role.VIEWER), RemoveMember(member.user_id)]


async def of_rule(rig: Rig, run_id: str) -> tuple[AnswerLink, list[Any]]:
    """Of a rule's message, whose rule tells somebody else, or is deleted."""
    config = AlertConfig(wait_ms=60_000)
    make = CreateRule("slow", AlertTrigger.WAITING_TOO_LONG, AlertScope(), config, (CHANNEL,))
    rule = (await rig.do(make)).rule
    link = await link_of(rig, run_id, rig.principal)
    by_rule = {"key_id": "", "rule_id": rule.rule_id, "channel": rule.channels[0].fingerprint()}
    return msgspec.structs.replace(link, **by_rule), [
        ChangeRule(rule.rule_id, channels=(OTHER,)),
        DeleteRule(rule.rule_id),
    ]


MAKERS = {"key": of_key, "member": of_member, "rule": of_rule}


@pytest.mark.parametrize("maker", MAKERS)
async def test_a_link_answers_while_its_maker_may(rig: Rig, maker: str) -> None:
    run_id = await asking(rig, "go?")
    link, _ = await MAKERS[maker](rig, run_id)
    await rig.do(AnswerApproval(link.ref, content="yes", link=link), principal=with_link(rig, link))
    assert (await rig.run(run_id)).pending[0].content == "yes"


@table("maker, end", [("key", 0), ("member", 0), ("member", 1), ("rule", 0), ("rule", 1)])
@table("together", [True, False])
async def test_a_link_answers_nothing_once_its_maker_may_not(rig: Rig, maker: str, end: int, together: bool) -> None:
    rig.principal = await rig.make_org(rig.ids.uuid())
    run_id = await asking(rig, "go?")
    link, ends = await MAKERS[maker](rig, run_id)
    asker = with_link(rig, link)
    answer = AnswerApproval(link.ref, content="yes", link=link)
    if together:
        groups = rig.engine._writer.groups
        done = await asyncio.gather(rig.do(ends[end]), rig.do(answer, principal=asker), return_exceptions=True)
        assert rig.engine._writer.groups == groups + 1
        assert isinstance(done[1], NotFound)
    else:
        await rig.do(ends[end])
        with pytest.raises(NotFound):
            await rig.do(answer, principal=asker)
    assert (await rig.run(run_id)).pending == ()


async def is_refused(rig: Rig, link: AnswerLink) -> None:
    assert rig.engine.unheard.is_ended(link.expires_at)
    with pytest.raises(LinkExpired):
        await rig.do(AnswerApproval(link.ref, content="yes", link=link), principal=with_link(rig, link))


async def test_a_link_that_has_ended_never_comes_back(rig: Rig) -> None:
    """Whether the server stood still over its end, or the wall clock was set ahead, or back, or both."""
    rig.clock.advance(HEARD_LATE_MS)
    run_id = await asking(rig, "go?")
    link = await link_of(rig, run_id, rig.principal)
    rig.clock.stand_still(HOUR_MS)
    await is_refused(rig, link)
    rig.clock.jump(-HOUR_MS // 2)
    await is_refused(rig, link)
    rig.clock.jump(HOUR_MS)
    await is_refused(rig, link)
    rig.clock.jump(-2 * HOUR_MS)
    await is_refused(rig, link)
    later = await rig.do(MakeAnswerLink(link.ref, "grace", 3 * HOUR_MS))
    await rig.do(AnswerApproval(link.ref, content="yes", link=later.link), principal=with_link(rig, later.link))


async def test_a_link_that_has_ended_before_a_start_stays_ended(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        run_id = await asking(rig, "go?")
        link, clock = await link_of(rig, run_id, rig.principal), rig.clock
        clock.advance(HOUR_MS)
        await is_refused(rig, link)
    clock.advance(1000)
    async with open_rig(tmp_path, clock=clock) as again:
        await is_refused(again, link)
