"""Native endpoints of retention, and of the erasure of a run or a thread."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec

from towerlog import errors
from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Call, Endpoint, Reply, Sample, reply_json, scopes
from towerlog.dialects.fields import decode, invalid_field, path_id, path_uuid, query_truth
from towerlog.dialects.native.lists import Listing
from towerlog.errors import NotFound
from towerlog.model.facts import Erases
from towerlog.model.principal import Scope
from towerlog.model.retention import (
    MAX_AGE_MS,
    MAX_BYTES,
    MIN_AGE_MS,
    ClearRetention,
    EraseRun,
    EraseThread,
    ErasureReport,
    GetRetention,
    ListRetention,
    Policies,
    RetentionNow,
    RetentionPass,
    RunRetention,
    SetRetention,
)
from towerlog.model.times import format_ms, format_optional_ms

ADMIN = scopes(Scope.ADMIN)
NOT_REACHED = (
    "backups that were made before: restoring one brings its content back",
    "what webhooks, chats and mail have received",
    "the audit, which keeps what people and keys did, as its hash chain does not change",
    "spools and dead letters on the machines of senders",
)
"""What an erasure here cannot reach."""
KEPT = "ids, names of agents and models, types, times, statuses, tokens and costs"

KindName = Annotated[str, v.said("Which kind of content it is about.", "deltas", enum=[kind.value for kind in Erases])]
Age = Annotated[
    int,
    v.said("How long content is kept after its run's end; null: no such bound.", 2592000, minimum=MIN_AGE_MS // 1000),
]
Size = Annotated[int, v.said("How many bytes are kept, as stored; null: no such bound.", 1073741824, minimum=0)]
ErasedAt = Annotated[str, v.time("When the content was erased.")]


class RetentionBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a kind of content is kept: at least one bound."""

    schema_name: ClassVar[str] = "SetRetention"
    max_age_seconds: Age | None = None
    max_bytes: Size | None = None


class RetentionDetail(msgspec.Struct, frozen=True):
    """How long a kind of content of runs that have ended is kept."""

    schema_name: ClassVar[str] = "Retention"
    kind: KindName
    max_age_seconds: Age | None
    max_bytes: Size | None
    updated_at: Annotated[str, v.time("When it was set.")]
    updated_by: v.UserId | None


class RetentionDraftBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy that is not set: at least one bound."""

    schema_name: ClassVar[str] = "RetentionDraft"
    kind: KindName
    max_age_seconds: Age | None = None
    max_bytes: Size | None = None


class RetentionRunBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Carry the policies out now, or tell what they would erase."""

    schema_name: ClassVar[str] = "RunRetention"
    dry_run: Annotated[bool, v.said("Only tell what would be erased; false begins with it.", True)]
    policy: (
        Annotated[RetentionDraftBody, v.said("Of a dry run: tell only what this policy would erase, were it set.")]
        | None
    ) = None


class DueDetail(msgspec.Struct, frozen=True):
    """What one policy would erase now."""

    schema_name: ClassVar[str] = "RetentionDue"
    kind: KindName
    runs: Annotated[int, v.said("Of how many runs content would be erased.", 12)]
    has_more: Annotated[bool, v.said("There are more runs than were counted.", False)]
    oldest_ended_at: Annotated[str, v.time("When the first of them ended.")] | None
    held_bytes: Annotated[int, v.said("What is held now; null where no bound of bytes is set.", 1288490188)] | None


class PassDetail(msgspec.Struct, frozen=True):
    """What the policies would erase, or have begun to."""

    schema_name: ClassVar[str] = "RetentionPass"
    data: Annotated[list[DueDetail], v.said("By policy.")]
    dry_run: Annotated[bool, v.said("Nothing was erased.", True)]


class ErasureQuery(msgspec.Struct, frozen=True):
    """`children=true` erases the runs below as well."""

    schema_name: ClassVar[str] = "ErasureQuery"
    children: Annotated[Literal["true", "false"], v.said("`true`: with all runs below.", "false")] = "false"


class ErasedDetail(msgspec.Struct, frozen=True):
    """Of one kind, how much was erased."""

    schema_name: ClassVar[str] = "Erased"
    kind: Annotated[str, v.said("What it was.", "events")]
    count: Annotated[int, v.said("How many.", 240)]
    bytes: Annotated[int, v.said("As they were stored.", 81920)]


class ErasedRunDetail(msgspec.Struct, frozen=True):
    """What was erased of one run."""

    schema_name: ClassVar[str] = "ErasedRun"
    run_id: v.RunId
    erased: Annotated[list[ErasedDetail], v.said("By kind; empty where nothing was left to erase.")]


class ErasureDetail(msgspec.Struct, frozen=True):
    """What was erased. It is durable when this is told."""

    schema_name: ClassVar[str] = "Erasure"
    runs: Annotated[list[ErasedRunDetail], v.said("Each run that was asked for.")]
    thread_id: v.ThreadId | None
    erased_at: ErasedAt
    kept: Annotated[str, v.said("What is kept.", KEPT)]
    not_reached: Annotated[list[str], v.said("Where the content may still be.", list(NOT_REACHED))]


_SET = msgspec.json.Decoder(RetentionBody)
_RUN = msgspec.json.Decoder(RetentionRunBody)


def _kind_of(call: Call) -> Erases:
    try:
        return Erases(call.path["kind"])
    except ValueError:
        raise NotFound("retention policy") from None


def _bounds_of(kind: Erases, body: RetentionBody | RetentionDraftBody) -> SetRetention:
    age = _bounded(body.max_age_seconds, "max_age_seconds", MIN_AGE_MS // 1000, MAX_AGE_MS // 1000)
    size = _bounded(body.max_bytes, "max_bytes", 0, MAX_BYTES)
    if age is None and size is None:
        why = "must be given, unless max_bytes is; to keep everything, delete the policy"
        raise invalid_field("max_age_seconds", why)
    return SetRetention(kind, None if age is None else age * 1000, size)


def _bounded(value: int | None, field: str, lowest: int, highest: int) -> int | None:
    if value is not None and not lowest <= value <= highest:
        raise invalid_field(field, f"must be between {lowest} and {highest}")
    return value


def _decode_set(call: Call) -> SetRetention:
    return _bounds_of(_kind_of(call), decode(_SET, call.body))


def _decode_list(_call: Call) -> ListRetention:
    return ListRetention()


def _decode_get(call: Call) -> GetRetention:
    return GetRetention(_kind_of(call))


def _decode_clear(call: Call) -> ClearRetention:
    return ClearRetention(_kind_of(call))


def _decode_run(call: Call) -> RunRetention:
    body = decode(_RUN, call.body)
    if body.policy is None:
        return RunRetention(body.dry_run)
    if not body.dry_run:
        raise invalid_field("policy", "must be set before it is carried out: it is taken with dry_run alone")
    try:
        kind = Erases(body.policy.kind)
    except ValueError:
        raise invalid_field("policy.kind", "must be one of " + ", ".join(kind.value for kind in Erases)) from None
    return RunRetention(True, _bounds_of(kind, body.policy))


def _children(call: Call) -> bool:
    return query_truth(call.query, "children", False)


def _decode_erase_run(call: Call) -> EraseRun:
    return EraseRun(path_uuid(call.path["run_id"], "run"), _children(call))


def _decode_erase_thread(call: Call) -> EraseThread:
    return EraseThread(path_id(call.path["thread_id"], "thread"), _children(call))


def policy_of(outcome: RetentionNow) -> RetentionDetail:
    """A policy as the API shows it."""
    row = outcome.row
    age = None if row.max_age_ms is None else row.max_age_ms // 1000
    return RetentionDetail(row.kind.value, age, row.max_bytes, format_ms(row.updated_at), row.updated_by)


def _encode_list(outcome: Policies, command: object, call: Call) -> Reply:
    return reply_json({"data": [policy_of(one) for one in outcome.rows], "next": None})


def _encode_policy(outcome: RetentionNow, command: object, call: Call) -> Reply:
    return reply_json(policy_of(outcome))


def _encode_pass(outcome: RetentionPass, command: RunRetention, call: Call) -> Reply:
    data = [
        DueDetail(one.policy.kind.value, one.runs, one.has_more, format_optional_ms(one.oldest_at), one.held_bytes)
        for one in outcome.due
    ]
    return reply_json(PassDetail(data, command.dry_run))


def _encode_erasure(outcome: ErasureReport, command: object, call: Call) -> Reply:
    runs = [
        ErasedRunDetail(one.run_id, [ErasedDetail(kind, *counted) for kind, counted in sorted(one.counts.items())])
        for one in outcome.runs
    ]
    erased_at = format_ms(outcome.erased_at)
    return reply_json(ErasureDetail(runs, outcome.thread_id, erased_at, KEPT, list(NOT_REACHED)))


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/retention", "list_retention", "How long which content is kept; what is not there, for ever.",
        ADMIN, _decode_list, _encode_list, reply=Listing[RetentionDetail],
    ),
    Endpoint(
        "POST", "/api/v1/retention/run", "run_retention", "What the policies would erase now; or begin with it.",
        ADMIN, _decode_run, _encode_pass, request=RetentionRunBody, reply=PassDetail,
    ),
    Endpoint(
        "GET", "/api/v1/retention/{kind}", "get_retention", "How long one kind of content is kept.", ADMIN,
        _decode_get, _encode_policy, reply=RetentionDetail,
    ),
    Endpoint(
        "PUT", "/api/v1/retention/{kind}", "set_retention", "Set how long one kind of content is kept.", ADMIN,
        _decode_set, _encode_policy, request=RetentionBody, reply=RetentionDetail,
    ),
    Endpoint(
        "DELETE", "/api/v1/retention/{kind}", "clear_retention", "Keep one kind of content for ever again.", ADMIN,
        _decode_clear, _encode_policy, reply=RetentionDetail,
    ),
    Endpoint(
        "DELETE", "/api/v1/runs/{run_id}", "erase_run",
        "Erase the content of a run that has ended; its figures stay.", ADMIN,
        _decode_erase_run, _encode_erasure, query=ErasureQuery, reply=ErasureDetail, refuses=(errors.Conflict,),
    ),
    Endpoint(
        "DELETE", "/api/v1/threads/{thread_id}", "erase_thread",
        "Erase the content of a thread's runs, which have all ended, and its title.", ADMIN,
        _decode_erase_thread, _encode_erasure, query=ErasureQuery, reply=ErasureDetail, refuses=(errors.Conflict,),
    ),
)  # fmt: skip
"""The endpoints of retention and erasure."""

_POLICY: dict[str, Any] = {"max_age_seconds": 2592000, "max_bytes": None}
_MADE: dict[str, Any] = {
    "kind": "deltas",
    **_POLICY,
    "updated_at": "2026-04-02T10:00:00.123Z",
    "updated_by": "0196b2c0-0000-7000-8000-000000000002",
}
_DUE: dict[str, Any] = {
    "kind": "deltas",
    "runs": 12,
    "has_more": False,
    "oldest_ended_at": "2026-03-01T10:00:00.123Z",
    "held_bytes": None,
}
_ERASURE: dict[str, Any] = {
    "runs": [{"run_id": v.UUID, "erased": [{"kind": "events", "count": 240, "bytes": 81920}]}],
    "thread_id": None,
    "erased_at": "2026-04-02T10:00:03.200Z",
    "kept": KEPT,
    "not_reached": list(NOT_REACHED),
}
RETENTION: dict[str, Sample] = {
    "list_retention": Sample({"data": [_MADE], "next": None}),
    "run_retention": Sample({"data": [_DUE], "dry_run": True}, {"dry_run": True}),
    "get_retention": Sample(_MADE),
    "set_retention": Sample(_MADE, _POLICY),
    "clear_retention": Sample(_MADE),
    "erase_run": Sample(_ERASURE),
    "erase_thread": Sample(_ERASURE | {"thread_id": "towers"}),
}
"""Name of the endpoint → its example."""
