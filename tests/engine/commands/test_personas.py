"""Personas and routes: versions never change, ids mean the newest, runs are made with them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from tests.support.rig import Rig
from towerlog.errors import Conflict, Invalid, NotFound
from towerlog.model.command import Claim, CreateRun
from towerlog.model.outcome import NothingToClaim
from towerlog.model.persona import Budget, CreatePersona, CreateRoute, GetPersona, GetRoute

LEASE_MS = 60_000


async def persona(rig: Rig, version: str, agent: str = "a", **fields: Any) -> Any:
    """A version of `writer`."""
    return await rig.do(CreatePersona("writer", version, agent, **fields))


async def test_a_version_is_made_once_and_never_changes(rig: Rig) -> None:
    content = {"instructions": "Go.", "model_settings": b'{"t":1}', "tools": ("x",), "budget": Budget(5)}
    made = await persona(rig, "1", **content)
    rig.clock.advance(5)
    again = await persona(rig, "1", **(content | {"model_settings": b'{ "t" : 1}'}))
    assert (made.created, again.created) == (True, False)
    assert (again.persona.created_at, bytes(again.persona.model_settings)) == (made.persona.created_at, b'{"t":1}')
    with pytest.raises(Conflict) as refused:
        await persona(rig, "1", **(content | {"tools": None}))
    assert "writer@1" in refused.value.message
    assert (await rig.do(GetPersona("writer@1"))).persona.tools == ("x",)


async def test_versions_made_at_once_are_each_judged_by_those_before(rig: Rig) -> None:
    asked = [CreatePersona("p", "1", agent) for agent in "aab"] + [CreateRoute("r", "x", model) for model in "mmn"]
    answers = await asyncio.gather(*(rig.do(one) for one in asked), return_exceptions=True)
    assert [getattr(one, "created", None) for one in answers] == [True, False, None, True, False, True]
    assert isinstance(answers[2], Conflict)
    assert (await rig.do(GetRoute("r"))).route.version == 2


async def test_a_route_with_other_content_is_the_next_version(rig: Rig) -> None:
    for number, (model, version, created) in enumerate(
        [("m", 1, True), ("m", 1, False), ("n", 2, True), ("m", 3, True)]
    ):
        view = await rig.do(CreateRoute("fast", "p", model, key_env="KEY"))
        assert (view.route.version, view.created) == (version, created), number
    found = await rig.do(GetRoute("fast"))
    assert (found.route.version, found.route.model, found.created) == (3, "m", False)


@pytest.mark.parametrize("command", [GetPersona("nobody"), GetPersona("writer@2"), GetRoute("none")])
async def test_what_is_not_registered_is_not_found(rig: Rig, command: Any) -> None:
    await persona(rig, "1")
    with pytest.raises(NotFound):
        await rig.do(command)


async def test_a_run_is_made_with_the_newest_version_of_then_and_keeps_it(rig: Rig) -> None:
    await persona(rig, "10", "old")
    first = await rig.do(CreateRun("t1", persona_id="writer"))
    await persona(rig, "9", "new", instructions="Newer.")
    second = await rig.do(CreateRun("t2", persona_id="writer"))
    third = await rig.do(CreateRun("t3", persona_id="writer@10", agent="old"))
    rows = [await rig.run(one.run_id) for one in (first, second, third)]
    assert [(row.persona_id, row.agent) for row in rows] == [
        ("writer@10", "old"),
        ("writer@9", "new"),
        ("writer@10", "old"),
    ]
    claims = [await rig.do(Claim("w", LEASE_MS, agents=("new",))), await rig.do(Claim("w", LEASE_MS, agents=("old",)))]
    assert [one.persona.persona_id for one in claims] == ["writer@9", "writer@10"]
    assert claims[0].persona.instructions == "Newer."


async def test_a_persona_has_one_agent(rig: Rig) -> None:
    await persona(rig, "1", "a")
    with pytest.raises(Invalid) as refused:
        await rig.do(CreateRun("t", persona_id="writer", agent="b"))
    assert refused.value.field == "agent"
    assert await rig.log() == []


@pytest.mark.parametrize("fields", [{"persona_id": "writer@2"}, {"persona_id": "w"}, {"route_id": "none"}])
async def test_a_run_is_not_made_with_what_is_not_registered(rig: Rig, fields: dict[str, str]) -> None:
    await persona(rig, "1")
    with pytest.raises(Invalid) as refused:
        await rig.do(CreateRun("t", **fields))
    assert [refused.value.field] == list(fields)


async def test_the_route_in_force_is_the_newest_at_the_claim(rig: Rig) -> None:
    await rig.do(CreateRoute("fast", "p", "old"))
    await rig.do(CreateRun("t", route_id="fast"))
    await rig.do(CreateRoute("fast", "p", "new", "https://x", "KEY"))
    claimed = await rig.do(Claim("w", LEASE_MS))
    assert (claimed.route.model, claimed.route.key_env, claimed.persona) == ("new", "KEY", None)
    assert claimed.view.row.route_id == "fast"


async def test_a_worker_gets_only_runs_of_agents_that_it_serves(rig: Rig) -> None:
    await persona(rig, "1", "writer-agent")
    with_persona = (await rig.do(CreateRun("t1", persona_id="writer"))).run_id
    without = (await rig.do(CreateRun("t2"))).run_id
    assert isinstance(await rig.do(Claim("w", LEASE_MS, agents=("other",))), NothingToClaim)
    assert (await rig.do(Claim("w", LEASE_MS, agents=("other", "default")))).view.row.run_id == without
    assert isinstance(await rig.do(Claim("w", LEASE_MS, agents=("default",))), NothingToClaim)
    assert (await rig.do(Claim("w", LEASE_MS))).view.row.run_id == with_persona


async def test_one_organisation_knows_nothing_of_anothers_registry(rig: Rig) -> None:
    await persona(rig, "1")
    await rig.do(CreateRoute("fast", "p", "m"))
    stranger = await rig.make_org("other")
    for command in (GetPersona("writer"), GetRoute("fast")):
        with pytest.raises(NotFound):
            await rig.do(command, principal=stranger)
    for fields in ({"persona_id": "writer"}, {"route_id": "fast"}):
        with pytest.raises(Invalid):
            await rig.do(CreateRun("t", **fields), principal=stranger)
    theirs = await rig.do(CreateRoute("fast", "p", "other"), principal=stranger)
    assert theirs.route.version == 1
    assert msgspec.structs.replace(theirs.route, number=0).org == stranger.org
