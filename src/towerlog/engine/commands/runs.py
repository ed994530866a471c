"""Creating runs for workers; threads and agents made by hand."""

from __future__ import annotations

import msgspec

from towerlog.engine.commands.personas import persona_of, route_of
from towerlog.engine.control.cancel import CONTROL, RUNS_AT_ONCE, cancel_tree
from towerlog.engine.load.rows import Needs, NeedsSteps
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.engine.reactions.budgets import refuse_exhausted
from towerlog.engine.reactions.cancels import needs_above
from towerlog.errors import Invalid, ThreadBusy
from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.command import CreateRun, CreateThread, RegisterAgent
from towerlog.model.event import EventType, RunById, RunByTrace
from towerlog.model.facts import Effects, Facts, Origin
from towerlog.model.lane import Lane, QueueState
from towerlog.model.outcome import AgentView, RunCreated, ThreadView
from towerlog.model.persona import Persona, split_persona_id
from towerlog.model.principal import Principal
from towerlog.model.run import MAX_METADATA_BYTES, MAX_THREAD_QUEUE, PARENT_RUN, ForkedFrom, RunRow
from towerlog.model.thread import ThreadRow
from towerlog.store.values import Kind

_replace = msgspec.structs.replace


def needs_of_create(needs: Needs, principal: Principal, command: CreateRun) -> NeedsSteps:
    """What the run is made of, its thread, and the runs that give way to it."""
    org = principal.org
    needs.counters(org)
    agent: str | None = command.agent or DEFAULT_AGENT
    if command.route_id is not None:
        needs.want(Kind.ROUTE, (org, command.route_id))
    if command.persona_id is not None:
        key, version = split_persona_id(command.persona_id)
        persona: Persona | None = needs.want(Kind.PERSONA, (org, key, version or ""))
        agent = None if persona is None else persona.agent
    parent = None if command.parent_run_id is None else needs.run(org, RunById(command.parent_run_id))
    if parent is not None:
        needs_above(needs, parent)
    if agent is not None:
        needs.agent(org, agent)
    thread = needs.thread(org, command.thread_id)
    return None if thread is None or thread.policy != "cancel_previous" else _needs_of_giving_way(needs, thread)


def _needs_of_giving_way(needs: Needs, thread: ThreadRow) -> Steps[None]:
    for number in thread.lane_runs:
        previous = needs.run_by_number(number)
        if previous is not None:
            needs.ends_below(previous)
        yield


def create_run(plan: Plan, principal: Principal, command: CreateRun) -> Steps[RunCreated]:
    """A queued run with its lane. Raises Invalid for an unknown parent, persona or route, BudgetExceeded for a budget
    that is used up, ThreadBusy by the thread."""
    row = yield from begin_run(plan, principal, command)
    return RunCreated(row.run_id, row.trace_id)


def begin_run(
    plan: Plan,
    principal: Principal,
    command: CreateRun,
    retry_of: str | None = None,
    forked_from: ForkedFrom | None = None,
) -> Steps[RunRow]:
    """The row of a new run in the queue; what it comes from, if it is one run again."""
    org = principal.org
    command = _resolved(plan, org, command)
    parent = _parent(plan, org, command.parent_run_id)
    refuse_exhausted(plan, org, command.agent or DEFAULT_AGENT, command.thread_id, parent)
    yield from _admit(plan, principal, command.thread_id)
    trace_id = command.trace_id or plan.ids.uuid().replace("-", "")
    origin = Origin(
        run_id=plan.ids.uuid(),
        thread_id=command.thread_id,
        trace_id=trace_id,
        created_by=principal.user_id,
        parent_key=None if parent is None else PARENT_RUN + parent.run_id,
        resumed_from=retry_of or (None if forked_from is None else forked_from.run_id),
        persona_id=command.persona_id,
        route_id=command.route_id,
        retry_of=retry_of,
        forked_from=forked_from,
        source=CONTROL,
    )
    row = _queue(plan, principal, command, origin)
    plan.name_run(org, RunByTrace(origin.thread_id, trace_id), row.run)
    return row


def _resolved(plan: Plan, org: int, command: CreateRun) -> CreateRun:
    """The command with its persona's version and agent. The route stays by name: its newest version is in force."""
    if command.route_id is not None and route_of(plan, org, command.route_id) is None:
        raise Invalid("route_id: there is no such route", field="route_id")
    if command.persona_id is None:
        return command
    persona = persona_of(plan, org, command.persona_id)
    if persona is None:
        raise Invalid("persona_id: there is no such persona", field="persona_id")
    if command.agent not in (None, persona.agent):
        raise Invalid(f"agent: this persona's agent is {persona.agent!r}", field="agent")
    return _replace(command, persona_id=persona.persona_id, agent=persona.agent)


def _admit(plan: Plan, principal: Principal, thread_id: str) -> Steps[None]:
    """Makes room in the thread by its policy. Raises ThreadBusy."""
    thread = plan.thread_made(principal.org, thread_id)
    if thread.lane_runs and thread.policy == "reject":
        raise ThreadBusy(f"Thread {thread_id!r} has a run that has not ended.")
    if thread.lane_runs and thread.policy == "cancel_previous":
        for index, number in enumerate(thread.lane_runs):
            if index and not index % RUNS_AT_ONCE:
                yield
            previous = plan.run_by_number(number)
            if previous is not None:
                yield from cancel_tree(plan, previous, principal.user_id, "superseded")
    elif len(thread.lane_runs) >= MAX_THREAD_QUEUE:
        raise ThreadBusy(f"Thread {thread_id!r} has {MAX_THREAD_QUEUE} runs that have not ended: no more fit.")


def _parent(plan: Plan, org: int, parent_run_id: str | None) -> RunRow | None:
    if parent_run_id is None:
        return None
    parent = plan.run(org, RunById(parent_run_id))
    if parent is None:
        raise Invalid("parent_run_id: there is no such run", field="parent_run_id")
    return parent


def _queue(plan: Plan, principal: Principal, command: CreateRun, origin: Origin) -> RunRow:
    org = principal.org
    agent = plan.agent(org, command.agent or DEFAULT_AGENT)
    given = b"" if command.metadata is None else command.metadata
    metadata = msgspec.Raw(given) if 0 < len(given) <= MAX_METADATA_BYTES else msgspec.UNSET
    members = {
        "persona_id": command.persona_id,
        "route_id": command.route_id,
        "input": None if command.input is None else msgspec.Raw(command.input),
        "metadata": msgspec.Raw(given) if given else None,
        "labels": command.labels or None,
    }
    data = msgspec.json.encode({name: value for name, value in members.items() if value is not None})
    run_state = plan.begin_run(org, origin, EventType.RUN_QUEUED)
    facts = Facts(effects=Effects(origin=origin, metadata=metadata, reporter_key=principal.key_id))
    event = plan.append(run_state, agent, EventType.RUN_QUEUED, data, dialect=CONTROL, facts=facts)
    row = plan.row_of(run_state)
    first = plan.thread_made(org, command.thread_id).lane_runs[:1] == (row.run,)
    state = QueueState.QUEUED if first else QueueState.BLOCKED
    plan.put_lane(Lane(row.run, org, state, agent.name, plan.serving_ms, command.labels, event.position))
    return row


def needs_of_thread(needs: Needs, principal: Principal, command: CreateThread) -> None:
    """The thread, if its caller names it."""
    if command.thread_id:
        needs.thread(principal.org, command.thread_id)


def create_thread(plan: Plan, principal: Principal, command: CreateThread) -> ThreadView:
    """A thread; one that is there is answered, its title and policy changed where given."""
    found = plan.thread(principal.org, command.thread_id) if command.thread_id else None
    thread_id = command.thread_id or plan.ids.uuid()
    row = found or ThreadRow(principal.org, thread_id, plan.now_ms)
    changed = _replace(row, title=command.title or row.title, policy=command.policy or row.policy)
    if found is None or changed != found:
        plan.put_thread(changed)
    return ThreadView(changed, created=found is None)


def needs_of_agent(needs: Needs, principal: Principal, command: RegisterAgent) -> None:
    """The agent by its name."""
    needs.counters(principal.org)
    needs.agent(principal.org, command.name)


def register_agent(plan: Plan, principal: Principal, command: RegisterAgent) -> AgentView:
    """An agent by name."""
    known = plan.counters(principal.org).agents
    row = plan.agent(principal.org, command.name)
    return AgentView(row, created=plan.counters(principal.org).agents != known)
