"""Replies of the `lanes` dialect: a run as its worker sees it, and the lists of lanes and of workers."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Call, Reply, Warned, reply_json
from towerlog.dialects.run_json import PersonaJson, RouteJson, persona_view, route_view
from towerlog.dialects.steering_json import QuestionView, question_views
from towerlog.model.checkpoint import CheckpointView
from towerlog.model.event import Refusal
from towerlog.model.lane import Lane, QueueState
from towerlog.model.outcome import Claimed, LaneCounts, LaneView, NothingToClaim, Page, Reported, RunView, WorkerView
from towerlog.model.pending import Pending
from towerlog.model.question import ListLanes
from towerlog.model.run import Status
from towerlog.model.times import format_optional_ms

STATUS_WORDS: dict[Status, str] = {
    Status.QUEUED: "queued",
    Status.RUNNING: "running",
    Status.WAITING: "paused",
    Status.PAUSED: "paused",
    Status.CANCELLING: "running",
    Status.COMPLETED: "shipped",
    Status.FAILED: "failed",
    Status.CANCELLED: "released",
    Status.BUDGET_EXCEEDED: "failed",
    Status.LOST: "failed",
}
"""A run's status as a lane's state; `claimed` and `shipping` are parts of `running`."""


class CommandReply(msgspec.Struct, omit_defaults=True):
    """A pending command of a run; sent with each reply until an event acknowledges it."""

    type: v.CommandType
    command_id: v.CommandId
    content: v.Content | None = None
    question_id: v.QuestionId | None = None
    """Of an `input`: the question that it answers."""
    question_key: Annotated[str, v.said("The key that the agent gave the question, if it gave one.", "send")] | None = (
        None
    )
    expired: v.Expired = False


class LaneReply(msgspec.Struct):
    """A run as its worker sees it."""

    id: v.RunId
    thread_id: v.ThreadId
    agent_id: v.AgentId | None
    lane_key: Annotated[str, v.said("The queue that the run stands in: its thread.", "towers")]
    title: v.Title | None
    role: Annotated[str, v.said("The agent that does the work.", "researcher")] | None
    state: v.LaneWord
    phase: v.Phase | None
    worker_id: v.WorkerId | None
    claimed_at: Annotated[str, v.time("When the run was claimed last.")] | None
    lease_expires_at: v.LeaseEnd | None
    last_heartbeat: v.Heartbeat | None
    lease_epoch: v.LeaseEpoch
    attempt: v.Attempt
    commands: Annotated[list[CommandReply], v.said("What people ask of the run, until it is acknowledged.")]
    questions: Annotated[list[QuestionView] | msgspec.UnsetType, v.said("Its open questions, the oldest first.")] = (
        msgspec.UNSET
    )
    """Open ones, those of earlier attempts too; absent when there is none."""


class RejectedEvent(msgspec.Struct):
    """An event of a report that was not stored."""

    index: v.Index
    code: v.Code
    message: v.Message


class ReportReply(msgspec.Struct, omit_defaults=True):
    """The run afterwards; `rejected`: events that are not stored."""

    ok: v.Ok
    run: Annotated[LaneReply, v.said("The run, after the report.")]
    rejected: Annotated[list[RejectedEvent], v.said("Events that are not stored, and why.")] = []
    warnings: Warned = msgspec.UNSET


class ClaimReply(msgspec.Struct, omit_defaults=True):
    """A run under its lease, with what its worker needs."""

    ok: v.Ok
    run: Annotated[LaneReply, v.said("The run, now held by this worker.")]
    input: Annotated[msgspec.Raw, v.said("What the run was created with.", {"topic": "towers"})] | None
    persona: Annotated[PersonaJson, v.said("The persona that the run was created with.")] | None
    route: Annotated[RouteJson, v.said("The route that the run was created with.")] | None
    checkpoint: (
        Annotated[
            dict[str, Any],
            v.said(
                "The newest checkpoint, where there is one to resume from.",
                {"step_index": 1, "history": [{"role": "assistant", "content": "Two towers."}]},
            ),
        ]
        | None
    )
    thread_history: Annotated[
        list[msgspec.Raw],
        v.said(
            "Without a checkpoint: the messages that earlier runs left in the thread, oldest first; a child has none.",
            [{"role": "user", "content": "Two towers."}],
        ),
    ] = []


class LanesReply(msgspec.Struct):
    """Lanes, with totals of the whole queue."""

    data: Annotated[list[LaneReply], v.said("The lanes, in the order of the queue.")]
    queued: Annotated[int, v.said("How many runs wait in the whole queue.", 0)]
    held: Annotated[int, v.said("How many runs are held by workers.", 1)]
    oldest_wait_seconds: (
        Annotated[float, v.said("How long the oldest queued run has waited; null where none waits.", 1.5)] | None
    )


class WorkerReply(msgspec.Struct):
    """A worker and the runs that it holds."""

    worker_id: v.WorkerId
    last_heartbeat: v.Heartbeat | None
    runs: v.RunIds


class WorkersReply(msgspec.Struct):
    """Workers with the runs that they hold."""

    data: Annotated[list[WorkerReply], v.said("The workers.")]


_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _lane_reply(view: RunView, lane: Lane) -> LaneReply:
    row = view.row
    return LaneReply(
        id=row.run_id,
        thread_id=row.thread_id,
        agent_id=view.agent_id,
        lane_key=row.thread_id,
        title=_title(row.metadata),
        # A lane knows its agent before the first event of the run names one.
        role=row.agent or lane.agent or None,
        state=state_of(row.status, lane),
        phase=lane.phase,
        worker_id=lane.worker_id,
        claimed_at=format_optional_ms(lane.claimed_at),
        # The last lease of a released or ended run is over, and must not look as if it ran.
        lease_expires_at=format_optional_ms(lane.expires_at) if lane.state is QueueState.HELD else None,
        last_heartbeat=format_optional_ms(lane.last_heartbeat),
        lease_epoch=lane.epoch,
        attempt=lane.attempt,
        commands=[_command(pending) for pending in row.pending],
        questions=question_views(row) if row.questions else msgspec.UNSET,
    )


def state_of(status: Status, lane: Lane) -> str:
    """The lane's state: the word for the run's status; a running one is divided by report and phase."""
    word = STATUS_WORDS[status]
    if word != "running":
        return word
    if lane.state is QueueState.HELD and not lane.reported:
        return "claimed"
    return "shipping" if lane.phase == "shipping" else word


def _title(metadata: msgspec.Raw) -> str | None:
    # Nearly all runs have none.
    if bytes(metadata) == b"{}":
        return None
    title = bytes(_MEMBERS.decode(metadata).get("title", b""))
    return msgspec.json.decode(title, type=str) if title[:1] == b'"' else None


def _command(pending: Pending) -> CommandReply:
    return CommandReply(
        pending.type, pending.command_id, pending.content, pending.question_id, pending.question_key, pending.expired
    )


def encode_reported(outcome: Reported, command: object, call: Call) -> Reply:
    """The run after a report, a release or an end, and the events that were not stored."""
    results = enumerate(outcome.results)
    rejected = [RejectedEvent(n, found.code, found.message) for n, found in results if isinstance(found, Refusal)]
    return reply_json(ReportReply(True, _lane_reply(outcome.view, outcome.lane), rejected))


def encode_claimed(outcome: Claimed | NothingToClaim, command: object, call: Call) -> Reply:
    """The claimed run; 204 without one."""
    if isinstance(outcome, NothingToClaim):
        return Reply(204, b"")
    view = outcome.view
    reply = ClaimReply(
        ok=True,
        run=_lane_reply(view, outcome.lane),
        input=None if outcome.input is None else msgspec.Raw(outcome.input),
        persona=None if outcome.persona is None else persona_view(outcome.persona),
        route=None if outcome.route is None else route_view(outcome.route),
        checkpoint=None if outcome.checkpoint is None else _checkpoint(outcome.checkpoint),
        thread_history=[msgspec.Raw(message) for message in outcome.thread_history],
    )
    return reply_json(reply)


def _checkpoint(view: CheckpointView) -> dict[str, Any]:
    """The checkpoint to continue from: figures as they were sent, and the whole history."""
    meta = view.history_meta
    return {
        **_MEMBERS.decode(view.figures),
        "step_index": view.row.step_index,
        "status": view.row.status,
        "history": [msgspec.Raw(message) for message in view.history],
        "history_meta": None if meta is None else [msgspec.Raw(entry) for entry in meta],
    }


def encode_lanes(outcome: LaneCounts, command: ListLanes, call: Call) -> Reply:
    """Lanes and the depth of the queue."""
    wanted, oldest = call.query.get("state"), outcome.oldest_queued_at
    lanes = [_lane_reply(found.run, found.lane) for found in outcome.page.rows if isinstance(found, LaneView)]
    # The engine filters by the run's status; `claimed` and `running` are one status, so they are told apart here.
    shown = [lane for lane in lanes if not wanted or lane.state == wanted]
    shown = shown[: command.limit]
    # Not below 0: the clocks of the reading and the writing moment may differ by a little.
    wait_seconds = None if oldest is None else max(0, outcome.now - oldest) / 1000
    return reply_json(LanesReply(shown, outcome.queued, outcome.held, wait_seconds))


def encode_workers(outcome: Page, command: object, call: Call) -> Reply:
    """Who holds what: not who only asks for work."""
    found = [worker for worker in outcome.rows if isinstance(worker, WorkerView) and worker.run_ids]
    return reply_json(WorkersReply([_worker(worker) for worker in found]))


def _worker(view: WorkerView) -> WorkerReply:
    return WorkerReply(view.worker_id, format_optional_ms(view.last_heartbeat), list(view.run_ids))
