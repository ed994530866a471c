"""Sends requests of OTLP, and counts what is in them: by the server's own reading, so that both say the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from towerlog.cli.importers.delivery import MAX_REFUSALS, ImportOutcome
from towerlog.cli.importers.events import ImportedEvent, Json, given, object_of
from towerlog.cli.importers.otlp import PROTOBUF, ExportRequest
from towerlog.dialects.base import Call, DialectSettings
from towerlog.dialects.otlp.dialect import DIALECT
from towerlog.dialects.views.otlp_protobuf import rejected
from towerlog.errors import TowerlogError
from towerlog.model.command import Append
from towerlog.model.event import Draft, EventType, Refusal, RunByForeignId
from towerlog.model.principal import Principal
from towerlog.model.times import format_ms
from towerlog.model.usage import format_dollars
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.requests import ApiRequest
from towerlog.sdk.wire.errors import ApiError
from towerlog.sdk.wire.refusals import accepted, json_of

_NOBODY = Principal(0, "", "", "", frozenset())
_DECODERS: dict[str, Callable[[Call], Any]] = {one.path: one.decode for one in DIALECT.endpoints}


@dataclass
class ExportOutcome:
    """What is in the requests of a file, and what became of them."""

    found: ImportOutcome = field(default_factory=ImportOutcome)
    items: int = 0
    """Spans and log records."""
    refused: int = 0
    refusals: list[str] = field(default_factory=list)

    def note(self, request: ExportRequest) -> int:
        """Counts what is in a request; how many items that is."""
        headers = {b"content-type": request.kind.encode()}
        try:
            made = _DECODERS[request.path](Call(_NOBODY, {}, {}, headers, request.body, DialectSettings(), "", 0))
        except TowerlogError as error:
            self.refuse(1, error.message)
            return 0
        assert isinstance(made, Append)
        for item in made.items:
            if isinstance(item, Draft):
                self.found.note(_event(item))
        unplaced = sum(isinstance(item, Refusal) for item in made.items)
        spans = {key for key in made.sent_ids if key is not None}
        count = unplaced + (len(spans) or len(made.items) - unplaced)
        self.items += count
        return count

    def refuse(self, count: int, why: str) -> None:
        """Notes items that are not stored."""
        self.refused += count
        if count and len(self.refusals) < MAX_REFUSALS:
            self.refusals.append(why)


def send_exports(
    client: Client | None, requests: Iterable[ExportRequest], outcome: ExportOutcome, done: Callable[[int], None]
) -> None:
    """Counts the requests, and sends them where there is a client; `done` is told how many items were.

    Raises ApiError, Unreachable.
    """
    for request in requests:
        count = outcome.note(request)
        if client is not None and count:
            _send(client, request, outcome, count)
        done(outcome.items)


def _send(client: Client, request: ExportRequest, outcome: ExportOutcome, count: int) -> None:
    try:
        # No method of the client is for another dialect. What the server knows adds nothing, so it may be sent again.
        reply = client._send(
            ApiRequest("POST", request.path, accepted, request.body, repeatable=True, content_type=request.kind)
        )
    except ApiError as error:
        if not error.blames_content:
            raise
        outcome.refuse(count, error.message)
        return
    if request.kind == PROTOBUF:
        told = rejected(reply.body)
        outcome.refuse(told.spans, told.words)
        return
    success = object_of(object_of(json_of(reply)).get("partialSuccess"))
    rest = next((value for name, value in success.items() if name.startswith("rejected")), 0)
    outcome.refuse(int(rest), str(success.get("errorMessage") or ""))


def _event(draft: Draft) -> ImportedEvent:
    """A draft as other importers have their events: what is counted of it."""
    run = draft.run.foreign_id if isinstance(draft.run, RunByForeignId) else ""
    time = None if draft.occurred_at is None else format_ms(draft.occurred_at)
    return ImportedEvent(run, "", draft.type.value, time, _figures(draft))


def _figures(draft: Draft) -> Json:
    effects = draft.effects
    if draft.type is not EventType.MODEL_CALL or effects.report is None:
        return {}
    usage = effects.report.usage
    cost = effects.report.usage.cost_nanos
    return given(
        input_tokens=usage.all_input_tokens(),
        output_tokens=usage.all_output_tokens(),
        cost_usd=None if cost is None else format_dollars(cost),
    )
