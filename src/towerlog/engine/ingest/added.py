"""What the server adds to the data of a question: its id."""

from __future__ import annotations

import msgspec

from towerlog.engine.commit.run_state import RunState
from towerlog.model.chain import LONG_DATA_BYTES
from towerlog.model.facts import NO_EFFECTS, Facts, with_effects
from towerlog.projections.questions import asked_before

_replace = msgspec.structs.replace
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


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
