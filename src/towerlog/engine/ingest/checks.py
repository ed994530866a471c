"""Events as they come in, held against their run: what they name that is not there, room for one more question,
the id of each, and withdrawals that come after the answer."""

from __future__ import annotations

import msgspec

from towerlog.engine.ingest.content import has_base
from towerlog.engine.ingest.dedupe import with_history
from towerlog.engine.ingest.needs import parent_ref
from towerlog.engine.load.own_runs import MAX_OPEN_LOOKED_AT, process_of, top_of
from towerlog.engine.load.rows import ref_key
from towerlog.engine.plan.plan import Plan
from towerlog.engine.plan.run_state import RunState
from towerlog.engine.reactions.budgets import reservation_of
from towerlog.errors import TooManyQuestions, UnknownBase
from towerlog.model.approval import NO_TERMS
from towerlog.model.chain import LONG_DATA_BYTES
from towerlog.model.event import TARGET_STATUS, Draft, EventType, NamedRun, OpenRun, Refusal, RunByForeignId, RunById
from towerlog.model.facts import NO_EFFECTS, Facts, with_effects
from towerlog.model.principal import Principal
from towerlog.model.question_digest import words_of
from towerlog.model.run import MAX_METADATA_BYTES, MAX_QUESTIONS, PARENT_RUN, TERMINAL, RunRow
from towerlog.model.run_agents import models_in
from towerlog.projections.commands import may_have_made
from towerlog.projections.metadata import told_metadata_fits
from towerlog.projections.questions import asked_before, has_room, may_have_asked, named_question
from towerlog.store.values import Kind

NO_RESERVATION = "the run has no such open reservation"
_replace = msgspec.structs.replace
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def refused_of(plan: Plan, org: int, draft: Draft, run_state: RunState | None) -> Refusal | None:
    """Why a draft cannot be stored that names a run or a history which are not there."""
    if run_state is None and type(draft.run) is RunById:
        return Refusal("not_found", "There is no such run.", "run_id")
    if draft.history is not None and not has_base(plan, org, draft.history):
        return Refusal(UnknownBase.code, str(UnknownBase()), "data.base")
    return None


def completed(plan: Plan, org: int, draft: Draft) -> Draft:
    """The draft with what only the log knows of it: its parent's run id, where its history lies."""
    ref = parent_ref(draft.effects.parent_key)
    parent = None if ref is None else plan.run(org, ref)
    if parent is not None:
        draft = _replace(draft, facts=with_effects(draft.facts, parent_key=PARENT_RUN + parent.run_id))
        if isinstance(draft.run, RunByForeignId) and not draft.run.names_thread:
            draft = _replace(draft, run=_replace(draft.run, thread_id=parent.thread_id, of_parent=True))
    if draft.history is not None or draft.effects.checkpoint is not None:
        draft = with_history(plan, org, draft)
    return draft


def run_that_ends(plan: Plan, run_state: RunState | None, draft: Draft) -> RunState | None:
    """Whose end an event tells that names a thread and no run: that of the thread's own run (`run_state`), unless its
    agent or its model is that of another open run alone."""
    others = _other_open_runs(plan, run_state, draft)
    if run_state is None or not others or _may_be_of(plan.row_of(run_state), draft):
        return run_state
    fitting = [one for one in others if _may_be_of(plan.row_of(one), draft)]
    return fitting[0] if len(fitting) == 1 else run_state


def _other_open_runs(plan: Plan, run_state: RunState | None, draft: Draft) -> list[RunState]:
    """The open runs of the thread beside its own, where an event tells an end and not whose."""
    if run_state is None or type(draft.run) is not OpenRun or TARGET_STATUS.get(draft.type) not in TERMINAL:
        return []
    row = plan.row_of(run_state)
    thread = plan.thread(row.org, row.thread_id)
    numbers = () if thread is None else thread.open_runs[-MAX_OPEN_LOOKED_AT:]
    found = [plan.run_state_of(number) for number in numbers if number != row.run]
    return [one for one in found if one is not None and not plan.row_of(one).is_terminal()]


def _may_be_of(row: RunRow, draft: Draft) -> bool:
    """Whether an event may be of a run: by the agent that it names, else by the model."""
    model = draft.effects.model
    if draft.agent is not None:
        return draft.agent == row.agent or row.share(draft.agent) is not None
    models = {row.model, *models_in(row)} - {None}
    return model is None or not models or model in models


def unused_of(plan: Plan, org: int, row: RunRow | None, draft: Draft) -> tuple[tuple[str, str], ...]:
    """Members of an event that its run, None where it begins with this event, has no use for; and why. What is missing
    is told in a sentence of its own, with a full stop.

    Of commands and questions only what the run certainly never had: what is over may be named in good faith. Of a
    reservation also one that is over: what the call has cost was not held any more.
    """
    effects, found = draft.effects, list[tuple[str, str]]()
    if effects.command_id is not None and not may_have_made(row, effects.command_id):
        found.append(("command_id", "the run has no such command"))
    if effects.question_id is not None and not may_have_asked(row, effects.question_id):
        found.append(("question_id", "the run has no such question"))
    if effects.reservation_id is not None and not _may_settle(plan, org, row, effects.reservation_id):
        found.append(("reservation_id", NO_RESERVATION))
    key = effects.question_key if draft.type is EventType.RUN_QUESTION_WITHDRAWN else None
    if key is not None and effects.question_id is None and not may_have_asked(row, key):
        found.append(("question_key", "the run has no such question"))
    if effects.parent_key is not None and _is_nobody(plan, org, effects.parent_key):
        found.append(("parent_run_id", "there is no such run"))
    if row is not None and type(draft.run) is OpenRun:
        # Of a sub-agent that is told of by checkpoints alone nobody expects an end.
        told = _other_open_runs(plan, plan.run_state_of(row.run), draft)
        others = [one for one in told if not plan.row_of(one).implicit]
        if others and (any(_may_be_of(plan.row_of(one), draft) for one in others) or not _may_be_of(row, draft)):
            found.append(("trace_id", "is missing, and several runs of the thread are open: its own one has ended."))
    if row is not None and not told_metadata_fits(row, effects):
        found.append(("metadata", f"does not fit into the {MAX_METADATA_BYTES} bytes that the run has for it"))
    return tuple(found)


def _may_settle(plan: Plan, org: int, row: RunRow | None, reservation_id: str) -> bool:
    """Whether it is open, and the run's own."""
    held = None if row is None else reservation_of(plan, org, reservation_id)
    return held is not None and row is not None and held.run == row.run


def _is_nobody(plan: Plan, org: int, parent_key: str) -> bool:
    """Whether a parent was named by our id, and there is none. One that its sender names may still come."""
    ref = RunById(parent_key.removeprefix(PARENT_RUN))
    # One that was found by its sender's name has our id by now, which was not looked up.
    is_asked = parent_key.startswith(PARENT_RUN) and plan.known.has(Kind.REF, ref_key(org, ref))
    return is_asked and plan.run_state(org, ref) is None


def one_too_many(run_state: RunState, draft: Draft) -> Refusal | None:
    """What refuses a question that nobody could answer, since its run has as many open ones as it may have."""
    row = run_state.row
    if draft.type is not EventType.RUN_WAITING or draft.facts.foreign or row.is_terminal():
        return None
    effects, facts = draft.effects, draft.facts
    words, terms = words_of(facts, draft.data), effects.terms or NO_TERMS
    if has_room(row, effects.question_key, words, facts.question, terms):
        return None
    many = f"{len(row.questions)} open questions"
    if len(row.questions) < MAX_QUESTIONS:
        many += ", and has no room for the words of another"
    return Refusal(TooManyQuestions.code, f"The run has {many}; wait for an answer, or withdraw one.", "type")


def withdraws_nothing(row: RunRow, draft: Draft) -> bool:
    """Whether a draft withdraws a question that is not open: it was answered before, and that answer counts.

    Who has sent it gets the answer with the reply, as with every reply until it is acknowledged.
    """
    if draft.type is not EventType.RUN_QUESTION_WITHDRAWN or draft.facts.foreign or row.is_terminal():
        return False
    question_id, key = draft.effects.question_id, draft.effects.question_key
    named = key if question_id is None else question_id
    # What the run never had stays a withdrawal, which its sender is warned of.
    was_asked = named is None or may_have_asked(row, named)
    return was_asked and named_question(row, question_id, key) is None


def reports_an_end(draft: Draft) -> bool:
    """An end with its usage, without saying how long the run took."""
    is_end = TARGET_STATUS.get(draft.type) in TERMINAL
    return is_end and draft.effects.report is not None and draft.facts.duration_ms is None


def with_question(run_state: RunState, kind: EventType, facts: Facts, data: bytes) -> tuple[Facts, bytes]:
    """An event of `QUESTION_TYPES` with the id of its question."""
    if kind is EventType.RUN_WAITING:
        return _asked(run_state, facts, data)
    return _answered(run_state.row, facts), data


def _asked(run_state: RunState, facts: Facts, data: bytes) -> tuple[Facts, bytes]:
    """A question with its id, which is its place in the run; of one that is asked again, the place that it had."""
    key = (facts.effects or NO_EFFECTS).question_key
    known = asked_before(run_state.row, key, None if key is None else words_of(facts, data))
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


def _answered(row: RunRow, facts: Facts) -> Facts:
    """What an agent says of an answer or a withdrawal, with the id of its question, where it names that otherwise.

    The question is the one that the fold of questions closes, or whose answer the agent acknowledges with this.
    """
    effects = facts.effects or NO_EFFECTS
    if effects.question_id is not None or effects.requests is not None:
        return facts
    key = effects.question_key
    answers = [one for one in row.pending if one.type == "input" and key in (None, one.question_key)]
    if effects.command_id is not None:
        found = next((one.question_id for one in answers if one.command_id == effects.command_id), None)
    elif effects.acknowledges == "input" and answers:
        found = answers[0].question_id
    else:
        question = named_question(row, None, key)
        found = None if question is None else question.question_id
    return facts if found is None else with_effects(facts, question_id=found)


def of_process(plan: Plan, principal: Principal, row: RunRow, facts: Facts, agent: str) -> Facts:
    """The facts of an event that tells a cost, with the name of the process whose counter it belongs to."""

    def find(ref: NamedRun) -> RunRow | None:
        found = plan.run_state(row.org, ref)
        return None if found is None else found.row

    effects = facts.effects or NO_EFFECTS
    report = effects.report
    if report is None:
        return facts
    row = row if row.agent is not None else _replace(row, agent=agent)
    trace, top = top_of(row, row.parent_key or effects.parent_key, find)
    thread = plan.thread_made(row.org, row.thread_id)
    process = process_of(row, trace, top, principal.key_id, thread, report.usage.cost_nanos or 0)
    return with_effects(facts, report=_replace(report, process=process))
