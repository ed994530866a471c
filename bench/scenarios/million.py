"""A full store: reads, start and idle memory with a million events in it, all of them put there through the wire."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import compiled, corpus, servers
from bench.context import Context
from bench.corpus import compact, padded
from bench.figures import Row, percentile
from bench.servers import Server
from bench.ways import CheckpointsWay, Target, timestamp
from bench.wire import Client, Refused, Reply

NAME = "million"
EVENTS_PER_RUN = 500
# Each run has its start and its end besides; these are what lies between.
STEPS_PER_RUN = EVENTS_PER_RUN - 2
EVENT_BYTES = 320
RUNS_AT_ONCE = 50
BATCH_EVENTS = 1_000
LOAD_CONNECTIONS = 8
LOAD_LIMIT_SECONDS = 180.0
RUNS_READ = 20
MAX_LIST_MS = 5.0
MAX_EVENTS_MS = 10.0
MAX_READY_SECONDS = 2.0
MAX_RESIDENT_MB = 90.0

WAY = CheckpointsWay()


def plain_events(kind: str, targets: list[Target]) -> list[bytes]:
    """One event of this type for each run."""
    return [compact({"type": kind, "data": WAY.ids(target)}) for target in targets]


def step_events(targets: list[Target], when: str) -> Iterator[bytes]:
    """The steps of all runs, fifty runs at a time taking turns, as runs that go on together do."""
    for start in range(0, len(targets), RUNS_AT_ONCE):
        together = targets[start : start + RUNS_AT_ONCE]
        for step in range(STEPS_PER_RUN):
            for target in together:
                number = target.number * STEPS_PER_RUN + step
                yield padded(WAY.event(target, number, step, when), number, EVENT_BYTES)


def requests(events: Iterator[bytes], key: str) -> Iterator[bytes]:
    """Complete requests with up to a thousand events each."""
    batch: list[bytes] = []
    target = Target(0, "")
    for event in events:
        batch.append(event)
        if len(batch) == BATCH_EVENTS:
            yield corpus.post(WAY.path(target, batch=True), WAY.wrap(target, batch, batch=True), key)
            batch = []
    if batch:
        yield corpus.post(WAY.path(target, batch=True), WAY.wrap(target, batch, batch=True), key)


def post_all(client: Client, events: list[bytes]) -> None:
    """Post events that must be there before, or after, all others."""
    target = Target(0, "")
    for start in range(0, len(events), BATCH_EVENTS):
        part = events[start : start + BATCH_EVENTS]
        reply = client.post(WAY.path(target, batch=True), WAY.wrap(target, part, batch=True))
        if not WAY.confirms(reply, len(part)):
            raise Refused(f"not all was stored: {reply.body[:300]!r}")


def fill(server: Server, folder: Path, events: int) -> float:
    """Store so many events; how many a second it took in."""
    count = events // EVENTS_PER_RUN
    targets = [Target(n, f"stored-{n}") for n in range(count)]
    path = folder / "fill.corpus"
    sent = corpus.write(path, requests(step_events(targets, timestamp()), server.key))
    with Client(server.port, server.key) as client:
        post_all(client, plain_events("thread_started", targets))
    load = compiled.load(server.port, path, LOAD_CONNECTIONS, LOAD_LIMIT_SECONDS)
    if load.requests != sent:
        raise Refused(f"only {load.requests} of {sent} batches were stored in {LOAD_LIMIT_SECONDS:.0f} s")
    # A connection that was left alone for so long has been closed by the server.
    with Client(server.port, server.key) as client:
        post_all(client, plain_events("thread_completed", targets))
    path.unlink()
    return count * STEPS_PER_RUN / load.seconds


@dataclass(frozen=True)
class Reads:
    """How long one kind of read took, seen from outside and, where the server says, from inside."""

    outside_ms: list[float]
    inside_ms: list[float]

    def row(self, name: str, limit_ms: float) -> list[Row]:
        """Median, held against its limit by the server's own figure where there is one, and the 99th percentile."""
        judged = self.inside_ms or self.outside_ms
        seen_by = "in the server" if self.inside_ms else "over loopback"
        detail = {
            "outside_p50_ms": percentile(self.outside_ms, 0.5),
            "outside_p99_ms": percentile(self.outside_ms, 0.99),
        }
        return [
            Row(NAME, f"{name}: p50 {seen_by}", "ms", percentile(judged, 0.5), threshold=limit_ms, detail=detail),
            Row(NAME, f"{name}: p99 {seen_by}", "ms", percentile(judged, 0.99)),
        ]


def in_array(reply: Reply) -> int:
    """Items of a bare array."""
    return len(reply.json())


def in_page(reply: Reply) -> int:
    """Items of a page of the native API."""
    return len(reply.json()["data"])


def in_stream(reply: Reply) -> int:
    """Events in an SSE body; a control frame, such as the one of the end, has a name and is none."""
    body = b"\n" + reply.body
    return body.count(b"\ndata: ") - body.count(b"\nevent: ")


def read_many(client: Client, paths: list[str], expected: int, count_of: Callable[[Reply], int]) -> Reads:
    """Read the paths one after the other; each reply must hold as many items as expected."""
    outside, inside = [], []
    for path in paths:
        reply = client.get(path)
        if count_of(reply) != expected:
            raise Refused(f"{path} gave {count_of(reply)} items, not {expected}")
        outside.append(reply.elapsed_ms)
        if reply.server_ms is not None:
            inside.append(reply.server_ms)
    return Reads(outside, inside)


def read_rows(context: Context, server: Server) -> list[Row]:
    """The newest runs, and the events of runs from all over the store."""
    count = context.effort.reads
    runs = context.effort.stored_events // EVENTS_PER_RUN
    with Client(server.port, server.key) as client:
        sampled = range(0, runs, max(1, runs // RUNS_READ))
        run_ids = [client.get(f"/v1/threads/stored-{n}/runs").json()[0]["run_id"] for n in sampled]
        chosen = [run_ids[n % len(run_ids)] for n in range(count)]
        newest = read_many(client, ["/v1/runs?limit=50"] * count, 50, in_array)
        pages = [f"/api/v1/runs/{run_id}/events?limit={EVENTS_PER_RUN}" for run_id in chosen]
        page = read_many(client, pages, EVENTS_PER_RUN, in_page)
        streams = [f"/v1/runs/{run_id}/events?follow=false" for run_id in chosen]
        stream = read_many(client, streams, EVENTS_PER_RUN, in_stream)
    return [
        *newest.row("newest 50 runs", MAX_LIST_MS),
        *page.row("500 events of a run, JSON", MAX_EVENTS_MS),
        *stream.row("500 events of a run, SSE", MAX_EVENTS_MS),
    ]


def restart_rows(context: Context, data: Path) -> list[Row]:
    """Start on the full store, which the operating system has in its cache, some times over."""
    ready, resident = [], []
    for _ in range(min(context.effort.starts, 3)):
        with servers.towerlog(data) as server:
            time.sleep(context.effort.rest_seconds)
            ready.append(server.ready_seconds)
            resident.append(server.resident_kib() * 1024 / 1e6)
            server.stop()
    stored = f"{context.effort.stored_events:,} events"
    return [
        Row(NAME, f"start to ready, {stored}", "s", median(ready), threshold=MAX_READY_SECONDS),
        Row(NAME, f"idle memory, {stored}", "MB", median(resident), threshold=MAX_RESIDENT_MB),
    ]


def measure(context: Context) -> list[Row]:
    """Fill one store, read from it, start on it again."""
    with context.folder(NAME) as folder:
        data = folder / "data"
        with servers.towerlog(data) as server:
            rate = fill(server, folder, context.effort.stored_events)
            context.say(f"million: stored {context.effort.stored_events:,} events at {rate:,.0f}/s")
            rows = [Row(NAME, "filling the store, batches of 1,000", "events/s", rate)]
            with context.profiler.watching(server.process.pid, "million-reads"):
                rows += read_rows(context, server)
            server.stop()
        each = servers.bytes_in(data) / context.effort.stored_events
        rows.append(Row(NAME, f"disk of each of them, {EVENT_BYTES} B as it was sent", "B", each))
        return rows + restart_rows(context, data)
