"""Sends imported events over the public wire, in batches, and counts what became of them.

An event has the same id and the same number in its run whenever its file is read again, so that what is known already
is answered as a duplicate. Ends are numbered apart: a session may go on after it was imported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from towerlog.cli.importers.events import ImportedEvent, Json, plain
from towerlog.sdk.api.client import Client
from towerlog.sdk.wire.errors import ApiError
from towerlog.sdk.wire.event_batch import BATCH_BYTES, BATCH_EVENTS, json_bytes

MAX_REFUSALS = 20
"""Refused events of which it is said why."""
MAX_RUN_IDS = 10_000


@dataclass
class ImportOutcome:
    """What was found in a file, and what became of it."""

    events: int = 0
    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    calls_without_cost: int = 0
    first_time: str | None = None
    last_time: str | None = None
    results: Counter[str] = field(default_factory=Counter)
    """By `stored`, `duplicate` and `refused`."""
    refusals: list[str] = field(default_factory=list)
    run_keys: dict[str, str | None] = field(default_factory=dict)
    """Run, as the file names it → its id here, once it is known."""

    def note(self, event: ImportedEvent) -> None:
        """Counts an event."""
        self.events += 1
        if len(self.run_keys) < MAX_RUN_IDS:
            self.run_keys.setdefault(event.run_key)
        if event.time is not None:
            self.first_time = min(self.first_time or event.time, event.time)
            self.last_time = max(self.last_time or event.time, event.time)
        if event.type == "model.call":
            self._note_call(event.data)

    def _note_call(self, data: Json) -> None:
        self.model_calls += 1
        self.input_tokens += sum(
            data.get(name) or 0 for name in ("input_tokens", "cached_input_tokens", "cache_write_tokens")
        )
        self.output_tokens += sum(data.get(name) or 0 for name in ("output_tokens", "reasoning_tokens"))
        cost = data.get("cost_usd")
        if cost is None:
            self.calls_without_cost += 1
        else:
            self.cost_usd += Decimal(cost)


class Sender:
    """Sends the events of one file to one server."""

    def __init__(self, client: Client, form: str, outcome: ImportOutcome) -> None:
        """`form` is the name of the file's format, by which its events are numbered."""
        self._client = client
        self._client_id = f"import-{form}"
        self._outcome = outcome
        self._numbers: Counter[tuple[str, bool]] = Counter()

    def send(self, events: Iterable[ImportedEvent], done: Callable[[int], None]) -> None:
        """Sends them all; `done` is told how many were. Raises ApiError, Unreachable."""
        for is_end, batch in self._batches(events):
            self._send(f"{self._client_id}.end" if is_end else self._client_id, batch)
            done(self._outcome.events)

    def _batches(self, events: Iterable[ImportedEvent]) -> Iterator[tuple[bool, list[Json]]]:
        """Events with their numbers, so many as a request takes, and of one client."""
        batch: list[Json] = []
        size, of_ends = 0, False
        for event in events:
            self._outcome.note(event)
            told = self._told(event)
            length = len(json_bytes(told))
            is_full = len(batch) >= BATCH_EVENTS or size + length > BATCH_BYTES
            if batch and (is_full or event.is_end is not of_ends):
                yield of_ends, batch
                batch, size = [], 0
            of_ends = event.is_end
            batch.append(told)
            size += length
        if batch:
            yield of_ends, batch

    def _told(self, event: ImportedEvent) -> Json:
        self._numbers[event.run_key, event.is_end] += 1
        told: Json = {
            "event_id": event.event_id,
            "client_seq": self._numbers[event.run_key, event.is_end],
            "run_key": event.run_key,
            "type": event.type,
            "data": plain(event.data),
        }
        more = {"time": event.time, "agent": event.agent, "thread": event.thread}
        return told | {name: value for name, value in more.items() if value is not None}

    def _send(self, client_id: str, batch: list[Json]) -> None:
        try:
            results: Sequence[Mapping[str, Any]] = self._client.send_events(client_id, batch).results
        except ApiError as error:
            if not error.blames_content:
                raise
            # Too large together, or one of them is nothing that a server takes.
            half = len(batch) // 2
            if half:
                self._send(client_id, batch[:half])
                self._send(client_id, batch[half:])
                return
            results = [{"status": "refused", "message": error.message}]
        for event, result in zip(batch, results, strict=True):
            self._take(event, result)

    def _take(self, event: Json, result: Mapping[str, Any]) -> None:
        status = str(result.get("status"))
        self._outcome.results[status] += 1
        run_id = result.get("run_id")
        if isinstance(run_id, str) and event["run_key"] in self._outcome.run_keys:
            self._outcome.run_keys[event["run_key"]] = run_id
        if status == "refused" and len(self._outcome.refusals) < MAX_REFUSALS:
            self._outcome.refusals.append(f"{event['run_key']} {event['event_id']}: {result.get('message')}")
