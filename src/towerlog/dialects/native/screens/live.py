"""The native stream of rows that change: what a screen shows, kept as it is, over one connection."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.asked.agents import agent_asked
from towerlog.dialects.base import Call, Endpoint, Reply, RowStyle, ascii_json, scopes
from towerlog.dialects.fields import bounded_text, invalid_field, query_truth
from towerlog.dialects.native import shapes
from towerlog.dialects.native.alerts.alerts import AlertDetail, alert_of
from towerlog.dialects.native.approvals.approvals import ApprovalDetail, approval_of
from towerlog.dialects.native.money.budgets import BudgetDetail, budget_of
from towerlog.dialects.native.screens.run_filters import read_statuses
from towerlog.dialects.run_json import RunDetail
from towerlog.model.alert import AlertNow
from towerlog.model.approval_views import ApprovalView
from towerlog.model.budget import BudgetNow
from towerlog.model.outcome import AgentView, LaneView, RunView
from towerlog.model.principal import Scope
from towerlog.model.question import FollowRows, RowFilter, RowKind

READ = scopes(Scope.READ)
_CURSOR = re.compile(r"(?:[0-9A-Za-z_.]{1,100}-)?[0-9]{1,15}", re.ASCII)
_KINDS = {kind.value: kind for kind in RowKind}
_KIND_WORDS = ", ".join(f"`{kind}`" for kind in RowKind)
_encode = msgspec.json.Encoder().encode


class LiveQuery(msgspec.Struct, frozen=True):
    """What is to be watched; all conditions apply."""

    kind: (
        Annotated[str, v.said(f"Only rows of these kinds, comma-separated: {_KIND_WORDS}.", "run,approval")] | None
    ) = None
    agent: (
        Annotated[str, v.said("Only this agent, its runs and their lanes, its approvals and alerts.", "researcher")]
        | None
    ) = None
    status: Annotated[str, v.said("Only runs of these statuses, comma-separated.", "running,queued")] | None = None
    thread_id: (
        Annotated[str, v.said("Only runs of this thread, their lanes, approvals and alerts.", "towers")] | None
    ) = None
    run_id: Annotated[str, v.run_id("Only this run, its lane, its approvals and alerts.")] | None = None
    cursor: (
        Annotated[str, v.said("Begin with what has changed since: `x-live-cursor` of a list.", "b7c1f0d2-1042")] | None
    ) = None
    follow: Annotated[
        Literal["true", "false"], v.said("`false`: end when all that has changed by now was sent.", "true")
    ] = "true"


class LiveSnapshot(msgspec.Struct, frozen=True):
    """The first event, `snapshot`: from here on every change is told."""

    schema_name: ClassVar[str] = "LiveSnapshot"
    cursor: Annotated[str, v.said("The place in the log.", "b7c1f0d2-1042")]
    resumed: Annotated[
        bool,
        v.said("`true`: all that has changed since the cursor that was sent follows. `false`: read the lists.", False),
    ]
    whole: Annotated[
        list[str],
        v.said("Kinds of which all rows follow, up to the next `position`: any other has been deleted.", []),
    ]


class LiveRemoved(msgspec.Struct, frozen=True):
    """The event `removed`: a row that is there no more."""

    kind: Annotated[str, v.said("Of which kind it was.", "budget")]
    id: Annotated[str, v.said("Its id.", v.UUID)]


class LivePosition(msgspec.Struct, frozen=True):
    """The event `position`: all that is watched was told up to there."""

    cursor: Annotated[str, v.said("The place in the log.", "b7c1f0d2-1042")]


class LiveGap(msgspec.Struct, frozen=True):
    """The event `gap`: more was missed than is sent again. A `snapshot` follows it."""

    reason: Annotated[str, v.said("Why.", "the cursor is of another log")]


def _run(view: RunView, credits_per_dollar: int) -> object:
    return shapes.run_of(view, credits_per_dollar)


def _agent(view: AgentView, credits_per_dollar: int) -> object:
    return shapes.agent_of(view.row)


def _lane(view: LaneView, credits_per_dollar: int) -> object:
    return shapes.lane_of(view)


def _approval(view: ApprovalView, credits_per_dollar: int) -> object:
    return approval_of(view)


def _alert(view: AlertNow, credits_per_dollar: int) -> object:
    return alert_of(view)


def _budget(view: BudgetNow, credits_per_dollar: int) -> object:
    return budget_of(view)


ROWS: Mapping[RowKind, Callable[[Any, int], object]] = {
    RowKind.RUN: _run,
    RowKind.AGENT: _agent,
    RowKind.LANE: _lane,
    RowKind.BUDGET: _budget,
    RowKind.APPROVAL: _approval,
    RowKind.ALERT: _alert,
}
"""How a row of each kind is shown: as its list shows it."""


def _frame(event: str, value: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (event.encode(), ascii_json(_encode(value)))


def _row(kind: RowKind, view: Any, credits_per_dollar: int) -> bytes:
    return _frame(kind.value, ROWS[kind](view, credits_per_dollar))


STYLE = RowStyle(
    row=_row,
    place=lambda cursor: b"id: %s\n" % cursor.encode(),
    removed=lambda kind, key: _frame("removed", LiveRemoved(kind.value, key)),
    snapshot=lambda cursor, resumed, whole: _frame(
        "snapshot", LiveSnapshot(cursor, resumed, [kind.value for kind in whole])
    ),
    position=lambda cursor: _frame("position", LivePosition(cursor)),
    gap=lambda reason: _frame("gap", LiveGap(reason)),
    prologue=b"retry: 1000\n: ping\n",
)


def _decode_live(call: Call) -> FollowRows:
    query = call.query
    agent, thread_id = agent_asked(query.get("agent"), "agent"), bounded_text(query.get("thread_id"), "thread_id")
    run_id = bounded_text(query.get("run_id"), "run_id")
    statuses = read_statuses(query.get("status"))
    wanted = RowFilter(
        kinds=_kinds(query.get("kind")),
        agent=agent,
        statuses=None if statuses is None else frozenset(statuses),
        thread_id=thread_id,
        run_id=run_id.lower() if run_id else None,
    )
    # A reconnecting browser repeats the URL, so the header is newer.
    seen = call.headers.get(b"last-event-id", b"").decode("latin-1")
    after = _place(seen, "Last-Event-ID") or _place(query.get("cursor") or "", "cursor")
    follow = query_truth(query, "follow", True)
    return FollowRows(wanted, after, call.settings.credits_per_dollar, follow)


def _kinds(text: str | None) -> frozenset[RowKind]:
    if not text:
        return frozenset(RowKind)
    words = {word.strip() for word in text.split(",")}
    if not _KINDS.keys() >= words:
        raise invalid_field("kind", "must be one of " + ", ".join(sorted(_KINDS)))
    return frozenset(_KINDS[word] for word in words)


def _place(text: str, field: str) -> str | None:
    if text and _CURSOR.fullmatch(text) is None:
        raise invalid_field(field, "is not a cursor of this stream")
    return text or None


def _encode_nothing(outcome: object, command: object, call: Call) -> Reply:
    """204, as of any stream: what changes has no end, so that none is ever sent."""
    return Reply(204, b"")


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/live", "live", "Rows as they change, on one stream for a whole screen.", READ,
        _decode_live, _encode_nothing, stream=STYLE, query=LiveQuery,
        frames=(
            LiveSnapshot, RunDetail, shapes.Agent, shapes.LaneState, BudgetDetail, ApprovalDetail, AlertDetail,
            LiveRemoved, LivePosition, LiveGap,
        ),
    ),
)  # fmt: skip
"""The stream of changed rows."""
