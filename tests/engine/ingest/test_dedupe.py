"""What counts as the same again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.factories import draft, event, run_row, traced
from tests.support.rig import Rig
from towerlog.engine.ingest.dedupe import same_content, starts_new_run
from towerlog.engine.ingest.prepare import prepared
from towerlog.model.chain import LONG_DATA_BYTES, SPELLED_BYTES, content_digest
from towerlog.model.command import Append
from towerlog.model.event import Draft, EventType, History, Refusal, RunByTrace
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.outcome import Stored
from towerlog.model.run import Status

E = EventType


async def again(rig: Rig, first: Draft, second: Draft) -> Stored | Refusal:
    """What the second is answered with, once the first is stored."""
    [stored] = await rig.append(first)
    assert isinstance(stored, Stored)
    [result] = await rig.append(second)
    return result


def call(data: bytes, **more: Any) -> Draft:
    return draft(E.TOOL_CALL, traced("x"), data=data, event_id="id", **more)


async def test_a_short_body_may_be_repeated_in_another_spelling(rig: Rig) -> None:
    result = await again(rig, call(b'{"a":[1,2],"b":"\\u00e9"}'), call('{ "b": "é", "a": [1, 2.0] }'.encode()))
    assert isinstance(result, Stored)
    assert result.duplicate


async def test_many_repeats_of_one_request_are_compared_at_once(rig: Rig) -> None:
    def batch(text: bytes) -> list[Draft]:
        return [draft(E.STEP, traced("x"), data=text % n, event_id=f"id{n}") for n in range(200)]

    await rig.append(*batch(b'{"n":%d}'))
    rig.engine.forget()
    results = await rig.append(*batch(b'{ "n": %d }'))
    assert all(isinstance(one, Stored) and one.duplicate for one in results)
    others = await rig.append(*batch(b'{ "n": %d, "m": 1 }'))
    assert [one.code for one in others if isinstance(one, Refusal)] == ["id_reused"] * 200


async def test_a_long_body_is_known_by_its_digest_alone(rig: Rig) -> None:
    """Nothing is read back of it: only blanks may differ."""
    text = b'{"a":"' + b"x" * SPELLED_BYTES + b'","b":1}'
    stored = await again(rig, call(text), call(text.replace(b',"b"', b' , "b"')))
    assert isinstance(stored, Stored)
    assert stored.duplicate
    [other] = await rig.append(call(b'{"b":1,"a":"' + b"x" * SPELLED_BYTES + b'"}'))
    assert isinstance(other, Refusal)
    assert other.code == "id_reused"


@pytest.mark.parametrize("longer", [b"", b"x" * SPELLED_BYTES])
async def test_an_id_that_was_made_here_is_no_content(rig: Rig, longer: bytes) -> None:
    sent = b'{"x":"%s"}' % longer
    result = await again(rig, call(sent), call(sent.replace(b":", b": ")))
    assert isinstance(result, Stored)
    assert result.duplicate
    [other] = await rig.append(call(b'{"x":"y%s"}' % longer))
    assert isinstance(other, Refusal)


async def test_a_question_asked_again_is_the_same(rig: Rig) -> None:
    def ask(data: bytes) -> Draft:
        return draft(E.RUN_WAITING, traced("x"), data=data, event_id="q")

    result = await again(rig, ask(b'{"question":"a?"}'), ask(b'{ "question": "a?" }'))
    assert isinstance(result, Stored)
    assert result.duplicate


async def test_type_and_name_are_content(rig: Rig) -> None:
    other = await again(rig, call(b"{}"), msgspec.structs.replace(call(b"{}"), type=E.STEP))
    assert isinstance(other, Refusal)
    [named] = await rig.append(call(b"{}", facts=Facts(name="n")))
    assert isinstance(named, Refusal)


def state(digest: str) -> Facts:
    return Facts(effects=Effects(checkpoint=CheckpointFacts(0, "idle", digest=digest)))


async def test_the_state_of_a_checkpoint_is_content() -> None:
    kept = event(1, 1, data=b"{}", facts=state("d"), event_id="e", content=content_digest(b"{}"))
    plan: Any = None
    assert same_content(plan, kept, draft(data=b"{}", facts=state("d")))
    assert not same_content(plan, kept, draft(data=b"{}", facts=state("e")))
    assert not same_content(plan, kept, draft(data=b"{}"))


@pytest.mark.parametrize("figures", [{"a": 1}, {"a": "x" * SPELLED_BYTES}, {"a": "x" * LONG_DATA_BYTES}])
@pytest.mark.parametrize("event_id", ["c", None])
async def test_a_checkpoint_is_the_same_wherever_it_was_prepared(rig: Rig, event_id: str | None, figures: Any) -> None:
    """First in a body that is decoded beside the event loop, then in one that is not."""
    facts = Facts(effects=Effects(checkpoint=CheckpointFacts(1, "in_progress")))
    history = History([b'{"role":"user"}'], None)
    told = draft(E.CHECKPOINT, traced("x"), figures, facts=facts, event_id=event_id, history=history)
    first = (await rig.do(prepared(Append("checkpoints", [told]), lambda: None))).results[0]
    [again] = await rig.append(told)
    assert isinstance(again, Stored)
    assert (again.seq, again.duplicate) == (first.seq, True)


def test_a_start_begins_anew_only_after_a_run_that_was_really_started_has_ended() -> None:
    again = draft(E.RUN_STARTED, RunByTrace("t", "x", reopen=True), facts=Facts(effects=Effects(is_start=True)))
    plain = draft(E.RUN_STARTED, traced("x", "t"), facts=Facts(effects=Effects(is_start=True)))
    ended = run_row(status=Status.COMPLETED)
    assert starts_new_run(ended, again)
    assert not starts_new_run(run_row(), again)
    assert not starts_new_run(run_row(status=Status.COMPLETED, implicit=True), again)
    assert not starts_new_run(ended, plain)
