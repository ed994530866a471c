"""What the server adds to the data of an event: the id of a tool call that came without one, the id of a question."""

from __future__ import annotations

import msgspec

from towerlog.engine.commit.run_state import RunState
from towerlog.model.chain import LONG_DATA_BYTES
from towerlog.model.event import EventType
from towerlog.model.facts import NO_EFFECTS, Facts, with_effects
from towerlog.projections.questions import asked_before

_replace = msgspec.structs.replace
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def paired(run_state: RunState, kind: EventType, facts: Facts, data: bytes) -> tuple[Facts, bytes]:
    """A tool call's and its result's shared id: the sender's, else one made here."""
    if facts.tool_call_id is not None:
        return facts, data
    call_id = f"call-{run_state.seq + 1}"
    if run_state.open_tools and kind is EventType.TOOL_RESULT:
        call_id = next((known for tool, known in run_state.open_tools if tool == (facts.tool or "")), call_id)
    if b'"tool_call_id"' not in data:
        head = b'{"tool_call_id":' + msgspec.json.encode(call_id)
        rest = data[1:].lstrip()
        data = head + (b"" if rest.startswith(b"}") else b",") + rest
    return _replace(facts, tool_call_id=call_id), data


def asked(run_state: RunState, facts: Facts, data: bytes) -> tuple[Facts, bytes]:
    """A question with its id, which is its place in the run; of one that is asked again, the place that it had."""
    known = asked_before(run_state.row, (facts.effects or NO_EFFECTS).question_key)
    if known is not None:
        facts = with_effects(facts, question_id=known)
    question_id = b"%d" % (run_state.seq + 1 if known is None else known)
    # A question id is the server's word: what the sender calls so says nothing.
    if len(data) > LONG_DATA_BYTES:
        # Of two members of one name the last counts.
        comma = b"" if data[1:].lstrip() == b"}" else b","
        return facts, data[:-1] + comma + b'"question_id":%s}' % question_id
    members = _decode_members(data)
    members["question_id"] = msgspec.Raw(question_id)
    return facts, msgspec.json.encode(members)
