"""An event as clients of the native API report it, alone or with the run that it belongs to."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.fields import NULL, JsonObject
from towerlog.model.usage import MAX_NUMBER

Seq = Annotated[int, msgspec.Meta(ge=1, le=MAX_NUMBER)]
Visible = Annotated[
    str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": 128, "pattern": "^[!-~]{1,128}$"})
]
MAX_NAME_CHARS = 128
ClientTime = Annotated[Any, msgspec.Meta(extra_json_schema={"type": ["string", "integer", "null"]})]
"""RFC 3339 text, or milliseconds since 1970; anything else is kept."""


class ReportedEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One event of a run. What is read of `data` depends on the type; unknown members are kept.

    `client_seq` numbers the events of a client within one run: 1, 2, 3 … without a gap.
    """

    event_id: Annotated[
        Visible, v.said("The sender's id of the event, unique in its run.", "0196b2c4-6a00-7000-8000-000000000001")
    ]
    client_seq: Annotated[Seq, v.said("The client's number of the event in its run: 1, 2, 3 …", 1)] | None = None
    type: Annotated[
        str, v.said("What happened: one of the types that the page on reporting lists, or `other`.", "step")
    ]
    time: Annotated[
        ClientTime,
        v.said(
            "When it happened by the sender's clock: RFC 3339 or milliseconds since 1970.", "2026-04-02T10:00:01.500Z"
        ),
    ] = None
    agent: v.AgentName | None = None
    data: Annotated[
        JsonObject, v.said("What the type needs; other members are kept.", {"name": "search", "phase": "start"})
    ] = NULL


class ClientEvent(ReportedEvent, frozen=True, gc=False, kw_only=True):
    """One event of any run. `run_key` is the client's own name of the run, or one of our run ids."""

    client_seq: Annotated[Seq, v.said("The client's number of the event in its run: 1, 2, 3 …", 1)]
    run_key: Annotated[Visible, v.said("The sender's own name of the run, unique in the organisation.", "letter-7")]
    thread: v.ThreadId | None = None
