"""Native endpoints of lanes and workers: runs that wait for a worker, and workers with the runs they hold."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.fields import invalid_field, optional_id, query_int
from towerlog.dialects.native import shapes
from towerlog.dialects.native.lists import WHOLE_LIST, Listing, live_header, page_reply
from towerlog.model.outcome import LaneCounts, LaneView, Page
from towerlog.model.principal import Scope
from towerlog.model.question import ListLanes, ListWorkers
from towerlog.model.times import format_optional_ms

READ = scopes(Scope.READ)


LANE_STATES = ("queued", "held")


class LaneListQuery(msgspec.Struct, frozen=True):
    """A filter for lanes."""

    schema_name: ClassVar[str] = "LanesQuery"
    state: Annotated[Literal["queued", "held"], v.said("Only runs in this state.", "queued")] | None = None
    limit: Annotated[int, v.limit(WHOLE_LIST)] = WHOLE_LIST


class WorkerListQuery(msgspec.Struct, frozen=True):
    """The most workers to list; `worker_id`: only that one."""

    schema_name: ClassVar[str] = "WorkersQuery"
    limit: Annotated[int, v.limit(WHOLE_LIST)] = WHOLE_LIST
    worker_id: v.WorkerId | None = None


class Lanes(msgspec.Struct, frozen=True):
    """The queue: its length, how long the oldest run has waited, and its lanes, oldest first."""

    data: Annotated[list[shapes.LaneState], v.said("The lanes, the oldest first.")]
    next: Annotated[str, v.said("Always null: the list has no further pages.", None)] | None
    queued: Annotated[int, v.said("How many runs wait in the whole queue.", 0)]
    unserved: Annotated[int, v.said("Of the oldest 1,000 of the list, how many wait that no worker serves.", 0)]
    held: Annotated[int, v.said("How many runs are held by workers.", 1)]
    oldest_queued_at: (
        Annotated[
            str,
            v.time("Since when the oldest queued run has waited; null where none waits."),
        ]
        | None
    )


def _decode_lanes(call: Call) -> ListLanes:
    state = call.query.get("state") or None
    if state is not None and state not in LANE_STATES:
        raise invalid_field("state", "must be one of " + ", ".join(LANE_STATES))
    return ListLanes(_whole_limit(call))


def _whole_limit(call: Call) -> int:
    return query_int(call.query, "limit", WHOLE_LIST, 1, WHOLE_LIST)


def _encode_lanes(outcome: LaneCounts, command: ListLanes, call: Call) -> Reply:
    state = call.query.get("state") or None
    lanes = [view for view in outcome.page.rows if isinstance(view, LaneView)]
    wanted = [view for view in lanes if state is None or view.lane.state.value == state]
    return reply_json(
        Lanes(
            data=[shapes.lane_of(view) for view in wanted[: command.limit]],
            next=None,
            queued=outcome.queued,
            unserved=outcome.unserved,
            held=outcome.held,
            oldest_queued_at=format_optional_ms(outcome.oldest_queued_at),
        ),
        200,
        live_header(outcome.page),
    )


def _decode_workers(call: Call) -> ListWorkers:
    return ListWorkers(_whole_limit(call), optional_id(call.query.get("worker_id"), "worker_id", in_urls=False))


def _encode_workers(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("workers", outcome, shapes.worker_of)


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/lanes", "list_lanes", "Runs that wait for a worker or are held by one, oldest first.", READ,
        _decode_lanes, _encode_lanes, query=LaneListQuery, reply=Lanes,
    ),
    Endpoint(
        "GET", "/api/v1/workers", "list_workers", "Workers that hold runs or ask for some, and what they hold.", READ,
        _decode_workers, _encode_workers,
        query=WorkerListQuery, reply=Listing[shapes.Worker],
    ),
)  # fmt: skip
"""The endpoints of lanes and workers."""
