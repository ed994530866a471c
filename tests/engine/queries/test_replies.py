"""What a claim brings along, also where it is not committed yet."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.factories import draft
from tests.support.rig import Rig
from towerlog.model.command import Claim, ClaimRun, CreateRun, Release, Report
from towerlog.model.event import Draft, EventType, History, RunById
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.outcome import Claimed
from towerlog.model.question import GetCheckpoint

LEASE_MS = 60_000


def checkpoint(run_id: str, step: int, count: int, metas: bool = True, **fields: Any) -> Draft:
    """A checkpoint whose history has `count` messages."""
    messages = [b'{"n":%d}' % n for n in range(count)]
    meta = [b'{"ts":%d}' % n for n in range(count)] if metas else None
    facts = Facts(effects=Effects(checkpoint=CheckpointFacts(step, "in_progress", length=count, has_meta=metas)))
    figures = b'{"step_index":%d,"count":%d}' % (step, count)
    return Draft(EventType.CHECKPOINT, RunById(run_id), figures, facts, history=History(messages, meta), **fields)


async def test_a_claim_sees_the_checkpoint_that_is_committed_with_it(rig: Rig) -> None:
    """Its older messages are stored already, its newer ones are not; in the second round the other way round."""
    run_id = (await rig.do(CreateRun("t", input=b'"go"'))).run_id
    await rig.do(ClaimRun(run_id, "one", LEASE_MS))
    await rig.do(Report(run_id, "one", [checkpoint(run_id, 1, 3)]))
    before = rig.engine.figures()["groups"]
    *_, claimed = await asyncio.gather(
        rig.do(Report(run_id, "one", [checkpoint(run_id, 2, 5)])),
        rig.do(Release(run_id, "one")),
        rig.do(ClaimRun(run_id, "two", LEASE_MS)),
    )
    assert rig.engine.figures()["groups"] == before + 1, "the three were not committed together"
    assert isinstance(claimed, Claimed)
    assert claimed.checkpoint == await rig.do(GetCheckpoint(run_id, 2))
    assert claimed.checkpoint is not None
    assert claimed.checkpoint.history == [b'{"n":%d}' % n for n in range(5)]
    assert claimed.checkpoint.history_meta == [b'{"ts":%d}' % n for n in range(5)]
    assert claimed.checkpoint.figures == b'{"step_index":2,"count":5}'


async def test_an_older_step_beside_the_claim_does_not_hide_the_newest(rig: Rig) -> None:
    run_id = (await rig.do(CreateRun("t"))).run_id
    await rig.do(ClaimRun(run_id, "one", LEASE_MS))
    await rig.do(Report(run_id, "one", [checkpoint(run_id, 7, 2, metas=False)]))
    *_, claimed = await asyncio.gather(
        rig.do(Report(run_id, "one", [checkpoint(run_id, 3, 1)])),
        rig.do(Release(run_id, "one")),
        rig.do(ClaimRun(run_id, "two", LEASE_MS)),
    )
    assert claimed.checkpoint == await rig.do(GetCheckpoint(run_id, 7))
    assert claimed.checkpoint.history_meta is None


async def test_a_revision_beside_the_claim_is_the_one_that_counts(rig: Rig) -> None:
    run_id = (await rig.do(CreateRun("t"))).run_id
    await rig.do(ClaimRun(run_id, "one", LEASE_MS))
    await rig.do(Report(run_id, "one", [checkpoint(run_id, 1, 4)]))
    *_, claimed = await asyncio.gather(
        rig.do(Report(run_id, "one", [checkpoint(run_id, 1, 2)])),
        rig.do(Release(run_id, "one")),
        rig.do(ClaimRun(run_id, "two", LEASE_MS)),
    )
    assert (claimed.checkpoint.row.revision, len(claimed.checkpoint.history)) == (2, 2)


async def test_a_run_without_anything_is_handed_out_with_nothing(rig: Rig) -> None:
    run_id = (await rig.do(CreateRun("t"))).run_id
    claimed = await rig.do(Claim("w", LEASE_MS))
    assert claimed.view.row.run_id == run_id
    assert (claimed.input, claimed.checkpoint, claimed.persona, claimed.route) == (None, None, None, None)
    await rig.do(Report(run_id, "w", [draft(run=RunById(run_id))]))
