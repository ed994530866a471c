"""What is read of an event's facts for outlines and previews says the same as the facts themselves."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.model.event import EventType
from towerlog.model.facts import CheckpointFacts, Effects, Facts, LaneFacts
from towerlog.model.liveness import is_of_agent
from towerlog.model.outline import (
    MomentCheckpoint,
    MomentEffects,
    MomentFacts,
    MomentLane,
    MomentSpent,
)
from towerlog.model.usage import Usage

PARTS = [
    (MomentFacts, Facts),
    (MomentEffects, Effects),
    (MomentLane, LaneFacts),
    (MomentCheckpoint, CheckpointFacts),
    (MomentSpent, Usage),
]


@pytest.mark.parametrize(("part", "whole"), PARTS)
def test_each_member_is_one_of_the_log(part: Any, whole: Any) -> None:
    known = {field.name: field for field in msgspec.structs.fields(whole)}
    for field in msgspec.structs.fields(part):
        assert field.encode_name == known[field.name].encode_name
        assert field.default == known[field.name].default or field.name == "decided_by"


TEXTS = st.none() | st.sampled_from(["a", "b"])
FACTS = st.builds(
    Facts,
    name=TEXTS,
    tool=TEXTS,
    tool_call_id=TEXTS,
    begins=TEXTS,
    ends=TEXTS,
    error=TEXTS,
    success=st.none() | st.booleans(),
    duration_ms=st.none() | st.integers(0, 9),
    spent=st.none() | st.builds(Usage, cost_nanos=st.none() | st.integers(0, 9)),
    effects=st.none()
    | st.builds(
        Effects,
        model=TEXTS,
        beat=st.booleans(),
        requests=TEXTS,
        budget_id=TEXTS,
        lane=st.none() | st.builds(LaneFacts, worker_id=TEXTS),
        checkpoint=st.none()
        | st.builds(
            CheckpointFacts,
            step_index=st.just(1),
            status=st.just("idle"),
            decided_by=TEXTS,
            expired=st.booleans(),
        ),
    ),
)


def same(part: Any, whole: Any) -> bool:
    if not isinstance(part, msgspec.Struct):
        return bool(part == whole)
    return all(same(getattr(part, name), getattr(whole, name)) for name in part.__struct_fields__)


@given(FACTS, st.sampled_from(EventType))
def test_what_is_read_is_what_was_told(facts: Facts, kind: EventType) -> None:
    read = msgspec.json.decode(msgspec.json.encode(facts), type=MomentFacts)
    assert same(read, facts)
    assert is_of_agent(kind, read.effects) is is_of_agent(kind, facts.effects)
