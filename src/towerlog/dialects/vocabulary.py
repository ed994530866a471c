"""What fields of one kind have in common on every wire: what they mean, a format, an example, for the OpenAPI document.

None of these types checks anything: what is refused is decided by decoders. A field that means something special says
so in a text of its own, which goes before the type's.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from towerlog.model.event import EventType

UUID = "0196b2c4-5d1e-7c3a-9f10-2b7d4e8a1c55"


def said(description: str, *examples: Any, **schema: Any) -> Meta:
    """A description, examples, and words of JSON Schema: for a field, beside it in `Annotated`."""
    return Meta(description=description, examples=list(examples), extra_json_schema=schema or None)


def time(description: str) -> Meta:
    """A time as text."""
    return said(description, "2026-04-02T10:00:03.200Z", format="date-time")


def run_id(description: str) -> Meta:
    """Another run than the one that is spoken of."""
    return said(description, "0196b2c4-5d1e-7c3a-9f10-2b7d4e8a1c54", format="uuid")


def limit(largest: int) -> Meta:
    """How many rows a list may have; whoever reads it refuses more than `largest`."""
    return said("The most rows to return.", 50, minimum=1, maximum=largest)


def free_object(description: str, example: Any) -> Meta:
    """An object whose members are the sender's own, or null."""
    return said(description, example, type=["object", "null"], additionalProperties=True)


# Ids

ResumedBy = Annotated[
    str,
    run_id(
        "The newest run that goes on from this one, whose runner began anew and has told nothing here since: what is "
        "asked of this run is asked of that one too. Null in lists."
    ),
]
RunId = Annotated[str, said("The run, as Towerlog names it.", UUID, format="uuid")]
ThreadId = Annotated[str, said("The thread: the conversation or task that its runs belong to.", "towers")]
OrgId = Annotated[str, said("The organisation.", "0196b2c0-0000-7000-8000-000000000001", format="uuid")]
UserId = Annotated[
    str, said("The user that the key belongs to.", "0196b2c0-0000-7000-8000-000000000002", format="uuid")
]
SignInLinkId = Annotated[str, said("The link's id, by which it can be taken back.", UUID, format="uuid")]
SessionId = Annotated[str, said("The session's id, by which it can be ended.", UUID, format="uuid")]
MemberId = Annotated[str, said("The member, as a user.", "0196b2c0-0000-7000-8000-000000000007", format="uuid")]
KeyId = Annotated[str, said("The API key.", "0196b2c0-0000-7000-8000-000000000004", format="uuid")]
AgentId = Annotated[
    str, said("The agent, as Towerlog names it.", "0196b2c4-0000-7000-8000-000000000003", format="uuid")
]
AgentName = Annotated[str, said("The agent's name.", "researcher")]
TraceId = Annotated[str, said("The trace that the run belongs to.", "4bf92f3577b34da6a3ce929d0e0e4736")]
WorkerId = Annotated[str, said("The worker's name; one name is one worker.", "worker-1")]
PersonaId = Annotated[str, said("The persona, as `persona_key@version`.", "editor@1")]
PersonaKey = Annotated[str, said("The persona's name, without its version.", "editor")]
RouteId = Annotated[str, said("The route: which provider and model the run uses.", "fast")]
ApprovalId = Annotated[
    str,
    said(
        "The approval: its run, and the words or tool calls that are asked about. `.q4`: the question of the event "
        "with seq 4; `.q4.9`: the same question as the event with seq 9 has asked it anew in other words; `.a2.9`: the "
        "tool calls of step 2 as the event with seq 9 has them. What is replaced by other words or other calls takes "
        "no answer any more.",
        f"{UUID}.q4",
    ),
]
BudgetId = Annotated[str, said("The budget.", "0196b2c4-7b00-7000-8000-000000000009", format="uuid")]
ReservationId = Annotated[str, said("The reservation.", "0196b2c4-7b80-7000-8000-00000000000b", format="uuid")]
PriceId = Annotated[str, said("The price.", "0196b2c4-7c00-7000-8000-00000000000a", format="uuid")]
RuleId = Annotated[str, said("The alert rule.", "0196b2c4-7c00-7000-8000-000000000010", format="uuid")]
AlertId = Annotated[str, said("The alert.", "0196b2c4-7d00-7000-8000-000000000011", format="uuid")]
DeliveryId = Annotated[str, said("The delivery.", "0196b2c4-7e00-7000-8000-000000000012", format="uuid")]
ModelName = Annotated[str, said("The model.", "gpt-4o-mini")]
EventId = Annotated[
    str, said("The sender's id of the event, unique in its run.", "0196b2c4-6a00-7000-8000-000000000001")
]
CommandId = Annotated[int, said("The command's number; acknowledge the command by it.", 12)]
QuestionId = Annotated[int, said("The question: the seq of its `run.waiting_for_input`.", 4)]
CheckpointId = Annotated[str, said("The checkpoint, unique in its run.", "1:researcher")]
ClientId = Annotated[str, said("The reporting process; its events are numbered for each run.", "desk-1")]
RunIds = Annotated[list[str], said("The runs that it holds.", [UUID])]
RunKey = Annotated[str, said("The sender's own name of the run, unique in the organisation.", "letter-7")]
Cursor = Annotated[str, said("Where the next page begins: `next` of the page before.", "cnVuczoxMDQy")]

NextCursor = Annotated[str, said("The cursor of the next page; null on the last.", "cnVuczoxMDQy")]
Email = Annotated[str, said("The address of the user who created it.", "ada@example.com")]

# Times and spans

Time = Annotated[str, said("When, in UTC.", "2026-04-02T10:00:01.500Z", format="date-time")]
CreatedAt = Annotated[str, said("When it was created.", "2026-04-02T10:00:00.123Z", format="date-time")]
UpdatedAt = Annotated[str, said("When it last changed.", "2026-04-02T10:00:03.200Z", format="date-time")]
StartedAt = Annotated[str, said("When work on the run began.", "2026-04-02T10:00:01.500Z", format="date-time")]
CompletedAt = Annotated[
    str, said("When the run completed; null for any other end.", "2026-04-02T10:00:09.000Z", format="date-time")
]
FailedAt = Annotated[
    str, said("When the run ended other than completed.", "2026-04-02T10:00:09.000Z", format="date-time")
]
OccurredAt = Annotated[
    str, said("When it happened by the sender's clock; never used for order.", "2026-04-02T10:00:01.500Z")
]
Heartbeat = Annotated[
    str, said("When the last report or heartbeat came.", "2026-04-02T10:00:03.200Z", format="date-time")
]
DurationMs = Annotated[int, said("How long it took, in milliseconds.", 890)]
TookMs = Annotated[
    int,
    said("How long the thing that it ends took, in milliseconds: as reported, else measured.", 740),
]
LeaseEnd = Annotated[
    str, said("When the lease ends unless a report renews it.", "2026-04-02T10:01:01.500Z", format="date-time")
]
LeaseSeconds = Annotated[int, said("How long a lease lasts without a report, in seconds.", 60)]
Since = Annotated[str, said("Only what happened at or after this time.", "2026-04-01T00:00:00Z", format="date-time")]
Until = Annotated[str, said("Only what happened before this time.", "2026-05-01T00:00:00Z", format="date-time")]

# Money and tokens

Dollars = Annotated[
    msgspec.Raw,
    said("Dollars, exact to the nano-dollar; null where it is unknown.", 0.0021, type=["number", "null"]),
]
CostSource = Annotated[
    str,
    said(
        "Whether the cost was told by its senders, or computed from tokens and prices; null where it is unknown.",
        "computed",
        enum=["reported", "computed", "mixed"],
    ),
]
PriceVersion = Annotated[
    str,
    said(
        "The prices that the computed part of the cost comes from; `several` for more than one, null for none.",
        "genai-prices 0.2.3",
    ),
]
UnpricedCalls = Annotated[
    int, said("Reports of tokens that the cost leaves out: nobody told what they cost, and no price is known.", 0)
]
InputTokens = Annotated[int, said("All tokens that went into models; null where it is unknown.", 812)]
OutputTokens = Annotated[int, said("All tokens that models wrote; null where it is unknown.", 40)]
CacheHitRate = Annotated[float, said("Cached input tokens divided by all input tokens.", 0.25, minimum=0, maximum=1)]
Credits = Annotated[int, said("The cost in credits, rounded up; a setting says how many make a dollar.", 3)]

# Words

RUN_STATUSES = [
    "queued",
    "running",
    "waiting_for_input",
    "paused",
    "cancelling",
    "completed",
    "failed",
    "cancelled",
    "lost",
    "budget_exceeded",
]
RunStatus = Annotated[str, said("The run's status.", "running", enum=RUN_STATUSES)]
CommandType = Annotated[str, said("What the agent is asked to do.", "input")]
LeaseState = Annotated[
    str,
    said(
        "Whether the run waits for another of its thread, waits for a worker, is held by one, or is done.",
        "held",
        enum=["blocked", "queued", "held", "done"],
    ),
]
LaneWord = Annotated[str, said("The run's state as workers see it.", "running")]
CheckpointStatus = Annotated[
    str, said("The status in words of checkpoints; a sender's own word is kept.", "in_progress")
]
EventTypeWord = Annotated[str, said("What happened.", "message.delta", enum=[type_.value for type_ in EventType])]
Policy = Annotated[
    str,
    said(
        "What happens to a run that is created while the thread has another that has not ended.",
        "enqueue",
        enum=["enqueue", "reject", "cancel_previous"],
    ),
]
Scopes = Annotated[list[str], said("What the key may do.", ["ingest"])]
Code = Annotated[str, said("What was wrong, for programs: a stable code.", "validation_failed")]
Message = Annotated[str, said("What was wrong, for people.", "events.1.data.name: is required")]
FieldName = Annotated[str, said("The field that was wrong.", "events.1.data.name")]
Phase = Annotated[str, said("What the worker says it is doing.", "searching")]
LogLine = Annotated[str, said("The worker's last line of log.", "3 of 10 pages read")]
Title = Annotated[str, said("A title for people.", "Which towers are listed?")]
Reason = Annotated[str, said("Why, for people; it reaches the agent and the log.", "asked for the wrong thing")]
Content = Annotated[str, said("The text that a person sent.", "yes")]
Expired = Annotated[bool, said("Nobody has answered in time: the content is no person's.", True)]

# Numbers

Seq = Annotated[int, said("The event's number in its run: 1, 2, 3 …", 4)]
Position = Annotated[int, said("The event's number in the organisation; it rises by the order of commits.", 1042)]
StepIndex = Annotated[int, said("The step that the checkpoint was taken after.", 1)]
LeaseEpoch = Annotated[int, said("Rises with each claim of the run; a holder with an older one has lost it.", 1)]
Attempt = Annotated[int, said("How often the run was claimed.", 1)]
Index = Annotated[int, said("The item's place in the batch, from 0.", 1)]
Unserved = Annotated[
    bool,
    said(
        "It is queued, and no worker serves it: in the last 90 seconds none that could take it has asked for work, and "
        "none that could is at work on another run.",
        False,
    ),
]
BusyWorker = Annotated[
    str,
    said(
        "It is queued, and this worker, which serves it, is at work on another run; of several it is one. Null where "
        "none is known: of a worker whose claim named no agents, only runs like the one that it holds count.",
        None,
    ),
]
Ok = Annotated[bool, said("The request was carried out.", True)]

IN_PATHS: dict[str, Any] = {
    "run_id": RunId,
    "thread_id": ThreadId,
    "agent_id": AgentId,
    "trace_id": TraceId,
    "step_index": StepIndex,
    "checkpoint_id": CheckpointId,
    "key_id": KeyId,
    "user_id": MemberId,
    "link_id": SignInLinkId,
    "org_id": OrgId,
    "session_id": SessionId,
    "budget_id": BudgetId,
    "price_id": PriceId,
    "reservation_id": ReservationId,
    "kind": Annotated[str, said("Which kind of content.", "deltas", enum=["deltas", "checkpoints", "events"])],
    "approval_id": ApprovalId,
    "rule_id": RuleId,
    "alert_id": AlertId,
    "delivery_id": DeliveryId,
    "persona_id": PersonaId,
    "route_id": RouteId,
    "token": Annotated[str, said("What the link says, and its signature.", "Zm9vYmFy")],
    "guide": Annotated[str, said("The page, by its name in the list of all.", "runs")],
    "folder": Annotated[str, said("The folder of the page in the repository's docs.", "dialects")],
    "activity.id": AgentId,
    "lanes.id": RunId,
}
"""Parameter of a path → what it is; after a dialect's name, where it is something else in each."""
