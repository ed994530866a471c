"""What counts as the same again."""

from __future__ import annotations

import pytest

from tests.support.factories import draft, event, run_row, traced
from towerlog.engine.ingest.dedupe import same_content, starts_new_run
from towerlog.model.event import EventType, RunByTrace
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.run import Status

E = EventType

SAME = [
    (b'{"a":1,"b":2}', b'{"b":2,"a":1}'),
    (b'{"a":"\\u00e9"}', '{"a":"é"}'.encode()),
    (b'{"a": [ 1, {} ]}', b'{"a":[1,{}]}'),
    (b'{"a":1e400}', b'{"a":1e400}'),
    (b'{"a":0.10}', b'{"a":0.1}'),
    (b'{"a":1.0}', b'{"a":1}'),
]
OTHER = [
    (b'{"a":1}', b'{"a":2}'),
    (b'{"a":1}', b'{"a":1,"b":null}'),
    (b'{"a":1}', b'{"a":"1"}'),
    (b'{"a":1}', b'{"a":true}'),
    (b'{"a":[0]}', b'{"a":[false]}'),
    (b'{"a":1e400}', b'{"a":1e401}'),
    (b'{"a":[1,2]}', b'{"a":[2,1]}'),
]


@pytest.mark.parametrize(("ours", "theirs"), SAME)
def test_spelling_makes_no_difference(ours: bytes, theirs: bytes) -> None:
    assert same_content(event(1, 1, data=ours), draft(data=theirs))


@pytest.mark.parametrize(("ours", "theirs"), OTHER)
def test_content_does(ours: bytes, theirs: bytes) -> None:
    assert not same_content(event(1, 1, data=ours), draft(data=theirs))


def test_type_and_name_are_content() -> None:
    assert not same_content(event(1, 1, data=b"{}"), draft(E.TOOL_CALL, data=b"{}"))
    assert not same_content(event(1, 1, data=b"{}"), draft(data=b"{}", facts=Facts(name="n")))


def test_an_id_that_was_made_here_is_no_content() -> None:
    kept = event(1, 1, type=E.TOOL_CALL, data=b'{"tool_call_id":"call-1","x":1}')
    assert same_content(kept, draft(E.TOOL_CALL, data=b'{"x":1}'))
    assert not same_content(kept, draft(E.TOOL_CALL, data=b'{"x":1}', facts=Facts(tool_call_id="own")))


def test_the_state_of_a_checkpoint_is_content() -> None:
    kept = event(1, 1, data=b"{}", facts=Facts(effects=Effects(checkpoint=CheckpointFacts(0, "idle", digest="d"))))
    same = Facts(effects=Effects(checkpoint=CheckpointFacts(0, "idle", digest="d")))
    assert same_content(kept, draft(data=b"{}", facts=same))
    assert not same_content(
        kept, draft(data=b"{}", facts=Facts(effects=Effects(checkpoint=CheckpointFacts(0, "idle", digest="e"))))
    )
    assert not same_content(kept, draft(data=b"{}"))


def test_a_start_begins_anew_only_after_a_run_that_was_really_started_has_ended() -> None:
    again = draft(E.RUN_STARTED, RunByTrace("t", "x", reopen=True), facts=Facts(effects=Effects(is_start=True)))
    plain = draft(E.RUN_STARTED, traced("x", "t"), facts=Facts(effects=Effects(is_start=True)))
    ended = run_row(status=Status.COMPLETED)
    assert starts_new_run(ended, again)
    assert not starts_new_run(run_row(), again)
    assert not starts_new_run(run_row(status=Status.COMPLETED, implicit=True), again)
    assert not starts_new_run(ended, plain)
