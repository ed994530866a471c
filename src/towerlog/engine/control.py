"""Control: create, pause, answer, decide; threads and agents made by hand."""

from __future__ import annotations

import msgspec

from towerlog.engine.cancels import cancel_tree, run_of
from towerlog.engine.plan import Plan
from towerlog.engine.registry import persona_of, route_of
from towerlog.errors import Conflict, Invalid, NotFound, NotWaiting, RunNotActive, ThreadBusy
from towerlog.model.command import CreateRun, CreateThread, Decide, GiveInput, RegisterAgent, SteerRun
from towerlog.model.event import Born, CheckpointFacts, EventType, Facts, RunById, RunByTrace
from towerlog.model.identity import Principal
from towerlog.model.lease import Lane, LaneState
from towerlog.model.outcome import AgentView, Decided, RunChanged, RunCreated, ThreadView
from towerlog.model.run import MAX_INPUTS, MAX_THREAD_QUEUE, ForkedFrom, RunRow, Status, ThreadRow

CONTROL = "runs"
"""The dialect that control events are written under."""

_replace = msgspec.structs.replace


async def create_run(plan: Plan, principal: Principal, command: CreateRun) -> RunCreated:
    """A queued run with its lane. Raises Invalid for an unknown parent, persona or route, ThreadBusy by the thread."""
    row = await begin_run(plan, principal, command)
    return RunCreated(row.run_id, row.trace_id)


async def begin_run(
    plan: Plan,
    principal: Principal,
    command: CreateRun,
    retry_of: str | None = None,
    forked_from: ForkedFrom | None = None,
) -> RunRow:
    """The row of a new run in the queue; what it comes from, if it is one run again."""
    org = principal.org
    command = await _resolved(plan, org, command)
    parent_key = await _parent_key(plan, org, command.parent_run_id)
    await _admit(plan, principal, command.thread_id)
    trace_id = command.trace_id or plan.ids.uuid().replace("-", "")
    born = Born(
        run_id=plan.ids.uuid(),
        thread_id=command.thread_id,
        trace_id=trace_id,
        created_by=principal.user_id,
        parent_key=parent_key,
        resumed_from=retry_of or (None if forked_from is None else forked_from.run_id),
        persona_id=command.persona_id,
        route_id=command.route_id,
        retry_of=retry_of,
        forked_from=forked_from,
        source=CONTROL,
    )
    row = await _queue(plan, principal, command, born)
    plan.remember_run(org, RunById(born.run_id), row)
    return plan.remember_run(org, RunByTrace(born.thread_id, trace_id), row)


async def _resolved(plan: Plan, org: int, command: CreateRun) -> CreateRun:
    """The command with its persona's version and agent. The route stays by name: its newest version is in force."""
    if command.route_id is not None and await route_of(plan, org, command.route_id) is None:
        raise Invalid("route_id: there is no such route", field="route_id")
    if command.persona_id is None:
        return command
    persona = await persona_of(plan, org, command.persona_id)
    if persona is None:
        raise Invalid("persona_id: there is no such persona", field="persona_id")
    if command.agent not in (None, persona.agent):
        raise Invalid(f"agent: this persona's agent is {persona.agent!r}", field="agent")
    return _replace(command, persona_id=persona.persona_id, agent=persona.agent)


async def _admit(plan: Plan, principal: Principal, thread_id: str) -> None:
    """Makes room in the thread by its policy. Raises ThreadBusy."""
    thread = await plan.thread_made(principal.org, thread_id)
    if thread.lane_runs and thread.policy == "reject":
        raise ThreadBusy(f"Thread {thread_id!r} has a run that has not ended.")
    if thread.lane_runs and thread.policy == "cancel_previous":
        for number in thread.lane_runs:
            previous = await plan.run_by_number(number)
            if previous is not None:
                await cancel_tree(plan, previous, principal.user_id, "superseded")
    elif len(thread.lane_runs) >= MAX_THREAD_QUEUE:
        raise ThreadBusy(f"Thread {thread_id!r} has {MAX_THREAD_QUEUE} runs that have not ended: no more fit.")


async def _parent_key(plan: Plan, org: int, parent_run_id: str | None) -> str | None:
    if parent_run_id is None:
        return None
    if await plan.run(org, RunById(parent_run_id)) is None:
        raise Invalid("parent_run_id: there is no such run", field="parent_run_id")
    return f"run:{parent_run_id}"


async def _queue(plan: Plan, principal: Principal, command: CreateRun, born: Born) -> RunRow:
    org = principal.org
    agent = await plan.agent(org, command.agent or "default")
    run = await plan.new_run_number(org)
    metadata = msgspec.UNSET if command.metadata is None else msgspec.Raw(command.metadata)
    members = {
        "persona_id": command.persona_id,
        "route_id": command.route_id,
        "input": None if command.input is None else msgspec.Raw(command.input),
        "metadata": None if metadata is msgspec.UNSET else metadata,
        "labels": command.labels or None,
    }
    data = msgspec.json.encode({name: value for name, value in members.items() if value is not None})
    facts = Facts(born=born, metadata=metadata)
    event, row = await plan.append(None, run, agent, EventType.RUN_QUEUED, data, org=org, dialect=CONTROL, facts=facts)
    thread = await plan.thread_made(org, command.thread_id)
    first = thread.lane_runs[:1] == (run,)
    state = LaneState.QUEUED if first else LaneState.BLOCKED
    plan.put_lane(Lane(run, org, state, agent.name, plan.steady, command.labels, event.position))
    return row


async def create_thread(plan: Plan, principal: Principal, command: CreateThread) -> ThreadView:
    """A thread; one that is there is answered, its title and policy changed where given."""
    thread_id = command.thread_id or plan.ids.uuid()
    found = await plan.thread(principal.org, thread_id)
    row = found or ThreadRow(principal.org, thread_id, plan.now)
    changed = _replace(row, title=command.title or row.title, policy=command.policy or row.policy)
    if found is None or changed != found:
        plan.put_thread(changed)
    return ThreadView(changed, created=found is None)


async def register_agent(plan: Plan, principal: Principal, command: RegisterAgent) -> AgentView:
    """An agent by name."""
    known = (await plan.counters(principal.org)).agents
    row = await plan.agent(principal.org, command.name)
    return AgentView(row, created=(await plan.counters(principal.org)).agents != known)


STEERED = {
    "pause": (EventType.RUN_PAUSE_REQUESTED, Status.PAUSED),
    "resume": (EventType.RUN_RESUME_REQUESTED, Status.RUNNING),
}
"""A wish: the event that asks for it, and where the run is when it has come about."""


async def steer_run(plan: Plan, principal: Principal, command: SteerRun) -> RunChanged:
    """Asks the agent to pause or to go on. Raises RunNotActive for a run that has ended or is being cancelled."""
    row = await run_of(plan, principal, command.run_id)
    if row.is_terminal() or row.status is Status.CANCELLING:
        raise RunNotActive(f"The run is not active: {row.status}.")
    kind, aim = STEERED[command.wish]
    wishes = [pending.type for pending in row.pending if pending.type in STEERED]
    is_so = row.status is aim if command.wish == "pause" else row.status is not Status.PAUSED
    if wishes == [command.wish] or (not wishes and is_so):
        return RunChanged(row, changed=False)
    members = {"requested_by": principal.user_id} | ({"reason": command.reason} if command.reason else {})
    agent = await plan.agent(row.org, row.agent or "default")
    facts, data = Facts(asks=command.wish), msgspec.json.encode(members)
    _, after = await plan.append(row, row.run, agent, kind, data, org=row.org, dialect=CONTROL, facts=facts)
    return RunChanged(after, changed=True)


async def give_input(plan: Plan, principal: Principal, command: GiveInput) -> RunChanged:
    """Appends the answer. Raises RunNotActive unless the run waits or runs, Conflict when too many lie unread.

    A run that lost its worker while it waited takes its answer too: the next claim delivers it.
    """
    row = await run_of(plan, principal, command.run_id)
    if row.status not in (Status.WAITING, Status.RUNNING) and not row.unanswered:
        raise RunNotActive(f"The run takes no input: {row.status}.")
    if sum(pending.type == "input" for pending in row.pending) >= MAX_INPUTS:
        raise Conflict(f"The run has {MAX_INPUTS} inputs that its agent has not taken yet.")
    data = msgspec.json.encode({"content": command.content, "by": principal.user_id})
    agent = await plan.agent(row.org, row.agent or "default")
    facts = Facts(asks="input")
    kind = EventType.RUN_INPUT
    _, after = await plan.append(row, row.run, agent, kind, data, org=row.org, dialect=CONTROL, facts=facts)
    return RunChanged(after, changed=True)


async def decide(plan: Plan, principal: Principal, command: Decide) -> Decided:
    """Approves or rejects. Raises NotFound for an unknown checkpoint, NotWaiting when it was decided before."""
    org = principal.org
    stored = await plan.unit.checkpoints_waiting(org, command.trace_id, command.step_index)
    rows = [await plan.checkpoint(row.run, row.agent, row.step_index) or row for row in stored]
    if command.agent is not None:
        rows = [row for row in rows if row.agent == command.agent]
    if not rows:
        raise NotFound("checkpoint")
    waiting = [row for row in rows if row.status == "waiting_for_approval"]
    if not waiting:
        raise NotWaiting(f"This checkpoint is not waiting for approval: {rows[0].status}.")
    row = waiting[0]
    run = await plan.run_by_number(row.run)
    if run is None:
        raise NotFound("run")
    if run.is_terminal():
        raise NotWaiting(f"The run has ended: {run.status}.")
    members = {"step_index": row.step_index, "status": command.status, "decided_by": principal.user_id}
    members |= {"reason": command.reason} if command.reason else {}
    facts = Facts(
        name=command.status,
        status=Status.RUNNING,
        checkpoint=CheckpointFacts(row.step_index, command.status, decision=True),
    )
    agent = await plan.agent(org, row.agent)
    data = msgspec.json.encode(members)
    await plan.append(run, run.run, agent, EventType.CHECKPOINT, data, org=org, dialect="checkpoints", facts=facts)
    return Decided(command.trace_id, row.step_index, command.status)
