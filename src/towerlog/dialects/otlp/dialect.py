"""Dialect `otlp`: what OpenTelemetry exporters send over HTTP, as protobuf or JSON. Traces and logs become runs.

A reply has the encoding of its request. What cannot be stored of a request is told of in a `partialSuccess`, which asks
nobody to send it again; a refusal of the whole is sent again by exporters where its status says so (429, 503).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count, islice
from typing import Any, TypeVar

import msgspec

from towerlog.dialects import base, fields
from towerlog.dialects.base import PROTOBUF, Call, Dialect, Endpoint, Limit, Reply, reply_json
from towerlog.dialects.otlp import json_in, protobuf
from towerlog.dialects.otlp.drafts import Storing, drafts_of
from towerlog.dialects.otlp.masks import has_few_suspects
from towerlog.dialects.otlp.records import draft_of
from towerlog.dialects.otlp.shapes import (
    ExportLogs,
    ExportMetrics,
    ExportTraces,
    LogsStored,
    MetricsTaken,
    RejectedRecords,
    RejectedSpans,
    TracesStored,
)
from towerlog.dialects.otlp.spans import Lazy, ToldSpan, checked
from towerlog.dialects.otlp.trees import NAME, traces_of
from towerlog.errors import Invalid, TowerlogError
from towerlog.model.command import Append
from towerlog.model.event import Draft, FieldWarning, Item, Refusal, RunByForeignId
from towerlog.model.outcome import Appended
from towerlog.model.principal import Scope
from towerlog.model.run import Status

MAX_SPANS = 10_000
"""Spans, or log records, of a request; those that come after them are refused."""
QUICK_OBJECTS = 6000
QUICK_COMMAS = 16_384
"""Brackets that open, and commas, of a request that is read at once: each attribute is two objects as JSON."""
T = TypeVar("T")
_TOO_MANY = Refusal("too_large", f"is behind the first {MAX_SPANS} of the request")

STATUS_WORDS: dict[Status, str] = {
    Status.QUEUED: "unset",
    Status.RUNNING: "unset",
    Status.WAITING: "unset",
    Status.PAUSED: "unset",
    Status.CANCELLING: "unset",
    Status.COMPLETED: "ok",
    Status.FAILED: "error",
    Status.CANCELLED: "error",
    Status.BUDGET_EXCEEDED: "error",
    Status.LOST: "error",
}
"""A run's status in the words for the status of its span."""
STATUS_OF: dict[str, Status] = {"unset": Status.RUNNING, "ok": Status.COMPLETED, "error": Status.FAILED}


def _is_protobuf(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request is protobuf and not JSON."""
    return b"protobuf" in headers.get(b"content-type", b"").lower()


def _is_quick(call: Call) -> bool:
    """Whether it takes a few milliseconds to read a request and to make events of it, JSON in its texts included."""
    body = call.body
    if body.count(b",") > QUICK_COMMAS or body.count(b"[") + body.count(b"{") > QUICK_OBJECTS:
        return False
    read = protobuf if _is_protobuf(call.headers) else json_in
    return read.is_quick(body) and has_few_suspects(body)


# Traces


def _decode_traces(call: Call) -> Append:
    told = (protobuf if _is_protobuf(call.headers) else json_in).spans_of(call.body)
    spans: list[ToldSpan] = []
    refused: list[Refusal] = []
    for one in _read(told, call):
        span = one if isinstance(one, Refusal) else checked(one)
        if isinstance(span, Refusal):
            refused.append(span)
        else:
            spans.append(span)
    drafts, keys, unplaced = _placed(spans, call)
    warnings = [_unused(name) for span in spans for name in span.unused][:1]
    return _append([*drafts, *unplaced, *refused], keys, tuple(warnings))


def _unused(name: str) -> FieldWarning:
    return FieldWarning(field=name, message=f"{name}: cannot be one; it is kept as it was sent and not used")


def _read(told: Iterator[Lazy[T]], call: Call) -> Iterator[T | Refusal]:
    """The first MAX_SPANS, and why as many behind them are refused; what comes after those is not even counted."""
    for number, one in enumerate(islice(told, 2 * MAX_SPANS)):
        call.pause()
        yield one() if number < MAX_SPANS else _TOO_MANY


def _placed(spans: list[ToldSpan], call: Call) -> tuple[list[Draft], list[bytes], list[Refusal]]:
    """The drafts of all spans; what stands for the span that each is of; and why some spans have none."""
    storing = Storing(call)
    refused: list[Refusal] = []
    found: list[tuple[int, int, int, Draft, bytes]] = []
    numbers = count()
    for trace in traces_of(spans).values():
        for node in trace.nodes:
            call.pause()
            key = b"%d" % next(numbers)  # ids of spans are no names of theirs: several may have one
            try:
                made = drafts_of(node, trace, storing)
            except TowerlogError as error:
                refused.append(fields.refusal(error))
                continue
            for at, rank, draft in made:
                found.append((at, rank, len(found), draft, key))
    # By time, so that the log tells what happened in the order in which it did.
    found.sort()
    return [one[3] for one in found], [one[4] for one in found], refused


def _append(items: list[Item], keys: list[bytes], warnings: tuple[FieldWarning, ...] = ()) -> Append:
    """`keys`: of each draft what stands for its span, if a request has several of one span."""
    ids = (*keys, *(None for _ in items[len(keys) :]))
    return Append(NAME, items, shows_commands=False, sent_ids=ids, warnings=warnings)


def _rejected(outcome: Appended, command: Append) -> tuple[int, str]:
    """How many spans or records are not stored, and why the first of them is not."""
    spans: set[bytes] = set()
    others, first = 0, ""
    for result, span in zip(outcome.results, command.sent_ids, strict=True):
        if isinstance(result, Refusal):
            first = first or result.message
            if span is not None:
                spans.add(span)
            else:
                others += 1
    return len(spans) + others, first


def _encoder(reply: Any, part: Any) -> Callable[[Appended, Append, Call], Reply]:
    def encode(outcome: Appended, command: Append, call: Call) -> Reply:
        rejected, why = _rejected(outcome, command)
        if not rejected and command.warnings:
            why = command.warnings[0].message
        if _is_protobuf(call.headers):
            return Reply(200, protobuf.partial_success(rejected, why), PROTOBUF)
        return reply_json(reply(part(str(rejected), why)) if why else reply())

    return encode


# Logs and metrics


def _decode_logs(call: Call) -> Append:
    told = (protobuf if _is_protobuf(call.headers) else json_in).records_of(call.body)
    storing = Storing(call)
    runs: dict[str, RunByForeignId] = {}
    items: list[Item] = []
    for record in _read(told, call):
        if isinstance(record, Refusal):
            items.append(record)
            continue
        try:
            items.append(draft_of(record, runs, storing))
        except TowerlogError as error:
            items.append(fields.refusal(error))
    return _append(items, [])


def _decode_metrics(call: Call) -> Append:
    (protobuf if _is_protobuf(call.headers) else json_in).check_metrics(call.body)
    return _append([], [])


def _encode_metrics(_outcome: Appended, _command: Append, call: Call) -> Reply:
    return Reply(200, b"", PROTOBUF) if _is_protobuf(call.headers) else reply_json(MetricsTaken())


# Refusals


def _explain(error: TowerlogError, _trace_id: str) -> Reply:
    status = base.status_of(error)
    if error.code == Invalid.code:
        status = 400  # as OTLP has it
    body = {"code": RPC_CODES.get(status, 2), "message": error.message}
    return reply_json(body, status, base.error_headers(error, status))


RPC_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 409: 10, 413: 8, 422: 3, 429: 8, 500: 13, 503: 14}
"""HTTP status → the code of an error in the message that OTLP answers with."""


def _recoded(reply: Reply, headers: Mapping[bytes, bytes]) -> Reply:
    """A refusal in the encoding of its request."""
    if not _is_protobuf(headers):
        return reply
    told = msgspec.json.decode(reply.body)
    body = protobuf.status_message(told["code"], told["message"])
    return msgspec.structs.replace(reply, body=body, content_type=PROTOBUF)


def _endpoint(path: str, what: str, decode: Any, encode: Any, request: Any, reply: Any) -> Endpoint:
    return Endpoint(
        "POST",
        path,
        f"otlp.{path.rpartition('/')[2]}",
        what,
        base.scopes(Scope.INGEST),
        decode,
        encode,
        limited=True,
        ingests=True,
        request=request,
        reply=reply,
        body="binary",
        is_quick=_is_quick,
    )


DIALECT = Dialect(
    NAME,
    "OpenTelemetry: traces, logs and metrics as exporters send them",
    (
        _endpoint(
            "/v1/traces",
            "Store the spans of an OTLP exporter",
            _decode_traces,
            _encoder(TracesStored, RejectedSpans),
            ExportTraces,
            TracesStored,
        ),
        _endpoint(
            "/v1/logs",
            "Store the log records of an OTLP exporter",
            _decode_logs,
            _encoder(LogsStored, RejectedRecords),
            ExportLogs,
            LogsStored,
        ),
        _endpoint(
            "/v1/metrics",
            "Take the metrics of an OTLP exporter, without storing them",
            _decode_metrics,
            _encode_metrics,
            ExportMetrics,
            MetricsTaken,
        ),
    ),
    _explain,
    Limit("otlp_rate_per_minute", "key"),
    recode=_recoded,
)
