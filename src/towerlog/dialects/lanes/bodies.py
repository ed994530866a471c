"""What workers send in the dialect `lanes`: bodies, and the queries of its lists."""

from __future__ import annotations

from typing import Annotated

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import DEFAULT_PAGE, MAX_PAGE
from towerlog.dialects.details import LogLine, Phase
from towerlog.dialects.fields import MAX_LABELS, NULL, Count

MAX_EVENTS = 100
MAX_AGENTS = 200
MAX_WAIT_SECONDS = 60

Wait = Annotated[int, msgspec.Meta(ge=0, le=MAX_WAIT_SECONDS)]
Label = Annotated[str, msgspec.Meta(max_length=200)]

Events = Annotated[
    msgspec.Raw,
    msgspec.Meta(
        extra_json_schema={
            "type": ["array", "null"],
            "maxItems": MAX_EVENTS,
            "items": {
                "type": "object",
                "required": ["type"],
                "properties": {
                    "type": {"type": "string", "minLength": 1, "maxLength": 200},
                    "payload": {"type": ["object", "null"]},
                    "id": {"type": ["string", "null"], "maxLength": 200},
                },
            },
        }
    ),
]
"""Not decoded before its length is known."""
Reason = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": ["string", "object", "null"]})]


def _null() -> msgspec.Raw:
    return NULL


class ReportBody(msgspec.Struct, gc=False):
    """A worker's report. `events` has up to 100 objects of `type`, `payload` and `id`."""

    worker_id: v.WorkerId
    lease_seconds: v.LeaseSeconds | None = None
    phase: Annotated[Phase, v.said("What the worker is doing.", "searching")] | None = None
    log_line: Annotated[LogLine, v.said("A line of its log.", "3 of 10 pages read")] | None = None
    events: Annotated[
        Events,
        v.said(
            "What has happened since the last report.", [{"type": "message.delta", "payload": {"content": "Dear "}}]
        ),
    ] = msgspec.field(default_factory=_null)
    lease_epoch: (
        Annotated[Count, v.said("The epoch that the claim answered; a report of an older claim is refused.", 1)] | None
    ) = None
    wait_seconds: Annotated[Wait, v.said("How long the reply may wait for a command.", 20)] | None = None


class ClaimBody(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """Which runs a worker takes: those of these agents that ask for no label except these."""

    worker_id: v.WorkerId
    lease_seconds: v.LeaseSeconds | None = None
    agents: (
        Annotated[
            Annotated[list[Label], msgspec.Meta(max_length=MAX_AGENTS, extra_json_schema={"minItems": 1})],
            v.said("The agents that this worker can run; absent: any.", ["researcher"]),
        ]
        | None
    ) = None
    labels: (
        Annotated[
            Annotated[dict[Label, Label], msgspec.Meta(max_length=MAX_LABELS)],
            v.said("What this worker offers; a run that asks for anything else is left to others.", {"gpu": "a100"}),
        ]
        | None
    ) = None
    wait_seconds: Annotated[Wait, v.said("How long to wait for a run that fits.", 20)] | None = None


class ClaimRunBody(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The worker that claims this run, and for how long."""

    worker_id: v.WorkerId
    lease_seconds: v.LeaseSeconds | None = None


class HolderBody(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The worker that releases a run."""

    worker_id: v.WorkerId
    lease_epoch: Annotated[Count, v.said("The epoch that the claim answered.", 1)] | None = None


class CompleteBody(msgspec.Struct, gc=False):
    """The result of a run."""

    worker_id: v.WorkerId
    lease_epoch: Annotated[Count, v.said("The epoch that the claim answered.", 1)] | None = None
    result: Annotated[msgspec.Raw, v.said("What the run has produced: any JSON value.", {"answer": 42})] = (
        msgspec.field(default_factory=_null)
    )


class FailBody(msgspec.Struct, gc=False):
    """Why a run failed: a string or an object."""

    worker_id: v.WorkerId
    lease_epoch: Annotated[Count, v.said("The epoch that the claim answered.", 1)] | None = None
    error: Annotated[
        Reason, v.said("Why: a text, or an object with `type` and `message`.", "the search engine does not answer")
    ] = msgspec.field(default_factory=_null)


class LanesQuery(msgspec.Struct):
    """Lanes of one state, or all."""

    state: Annotated[str, v.said("Only runs in this state: `queued` or `held`.", "queued")] | None = None
    limit: Annotated[int, v.limit(MAX_PAGE)] = DEFAULT_PAGE


class WorkersQuery(msgspec.Struct):
    """The most workers to list; `worker_id`: only that one."""

    limit: Annotated[int, v.limit(MAX_PAGE)] = DEFAULT_PAGE
    worker_id: v.WorkerId | None = None
