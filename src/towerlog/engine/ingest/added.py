"""Questions as they come in: room for one more, the id of each, and the answers that a withdrawal makes nobody's."""

from __future__ import annotations

import msgspec

from towerlog.engine.commit.plan import Plan
from towerlog.engine.commit.run_state import RunState
from towerlog.errors import TooManyQuestions
from towerlog.model.chain import LONG_DATA_BYTES
from towerlog.model.event import Draft, EventType, Refusal
from towerlog.model.facts import NO_EFFECTS, Effects, Facts, with_effects
from towerlog.model.run import MAX_QUESTIONS, RunRow
from towerlog.projections.questions import answers_withdrawn, asked_before, has_room

_replace = msgspec.structs.replace
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def one_too_many(run_state: RunState, draft: Draft) -> Refusal | None:
    """What refuses a question that nobody could answer, since its run has as many open ones as it may have."""
    row = run_state.row
    if draft.type is not EventType.RUN_WAITING or draft.facts.foreign or row.is_terminal():
        return None
    if has_room(row, draft.effects.question_key):
        return None
    words = f"The run has {MAX_QUESTIONS} open questions; wait for an answer, or withdraw one."
    return Refusal(TooManyQuestions.code, words, "type")


def tell_untaken(plan: Plan, row: RunRow, effects: Effects, dialect: str) -> None:
    """An answer that a withdrawal makes nobody's is on record as not taken, for whoever gave it. `row`: before it."""
    for one in answers_withdrawn(row, effects):
        members = {"command_id": one.command_id, "type": one.type, "question_id": one.question_id, "taken": False}
        facts = Facts(effects=Effects(command_id=one.command_id))
        plan.note(row, EventType.COMMAND_ACKNOWLEDGED, members, facts, by=dialect)


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
