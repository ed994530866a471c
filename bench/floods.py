"""Hostile callers of one server, all at once: owns what each of them sends. A program of its own, so that its work is
not the well-behaved caller's.

    python bench/floods.py PORT KEY SECONDS

KEY belongs to an organisation of the hostile callers. Each kind comes from a loopback address of its own, and every
kind is bounded: so many connections, a pause between two attempts, pieces of a bounded size.
"""

import asyncio
import gzip
import itertools
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Started as a file, Python looks beside it for modules; the package is one folder up.
# ruff: noqa: E402
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench.corpus import compact, post
from bench.wire import HOST

CONNECT_SECONDS = 5.0
DRIP_SECONDS = 1.0
HOLD_SECONDS = 20.0
NICENESS = 10
"""Real hostile callers have processors of their own; these share the server's and must not take them away."""

CHAIN = 110
"""Spans above a model call, of which the server looks for 128 at most."""
PIECE = 64 * 1024
MIB = 1024 * 1024
HEAD = "{} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str], Awaitable[None]]


@dataclass(frozen=True)
class Flood:
    """One kind of hostile caller: so many at a time, each beginning again after a pause."""

    act: Act
    callers: int
    pause_s: float


def head(request: str, key: str, *lines: str) -> bytes:
    """The head of a request, with further header lines."""
    return (HEAD.format(request, key) + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode()


async def read_some(reader: asyncio.StreamReader) -> None:
    """Takes a reply, or what there is of it within the time."""
    await asyncio.wait_for(reader.read(PIECE), HOLD_SECONDS)


async def slow_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """A head that never ends, a byte at a time."""
    writer.write(b"GET /v1/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
    while not reader.at_eof():
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(DRIP_SECONDS)


async def slow_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """A body that says it is the largest allowed, a byte at a time."""
    writer.write(head("POST /v1/threads/slow/runs", key, f"Content-Length: {16 * MIB}"))
    while not reader.at_eof():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(DRIP_SECONDS)


async def body_without_key(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """A body that goes on after its 401."""
    writer.write(head("POST /api/ingest", "nobody", f"Content-Length: {MIB}"))
    while not reader.at_eof():
        writer.write(b"  ")
        await writer.drain()
        await asyncio.sleep(DRIP_SECONDS)


async def trailers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """Trailers without an end after a chunked body."""
    writer.write(head("POST /api/ingest", "nobody", "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n")
    line = b"X-Trailer: " + b"t" * 1000 + b"\r\n"
    for _ in range(256):
        writer.write(line * 32)
        await writer.drain()


async def pipeline(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """Requests upon requests, and no reply is read."""
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 5_000)
    await asyncio.sleep(HOLD_SECONDS)


async def unread_list(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """Large lists, none of them read."""
    writer.write(head("GET /api/v1/runs?limit=200", key) * 4)
    await asyncio.sleep(HOLD_SECONDS)


async def unread_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """A stream of the runs that the others fill, never read."""
    writer.write(head("GET /agents/hostile/events", key, "Accept: text/event-stream"))
    await asyncio.sleep(HOLD_SECONDS)


async def spaces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """A key behind tens of thousands of blanks, another number each time."""
    blanks = " " * (50_000 + next(_numbers) % 10_000)
    writer.write(f"GET /v1/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {blanks}{key}\r\n\r\n".encode())
    await read_some(reader)


async def guessed_key(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """Keys that do not exist."""
    for _ in range(20):
        writer.write(head("GET /v1/runs", f"tl_guess_{next(_numbers)}"))
        await read_some(reader)


async def bomb(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """A small body that unpacks to the largest allowed."""
    writer.write(head("POST /api/ingest", key, "Content-Encoding: gzip", f"Content-Length: {len(_BOMB)}") + _BOMB)
    await read_some(reader)


async def deep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """JSON a million levels deep."""
    writer.write(post("/api/ingest", b"[" * MIB, key))
    await read_some(reader)


async def many_members(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """An event with very many members, and a word that must be repaired."""
    payload = {"half": "\ud800", **{f"m{number}": "" for number in range(200_000)}}
    body = json.dumps({"event_type": "step", "sdk_run_id": "hostile", "payload": payload}).encode()
    writer.write(post("/api/ingest", body, key))
    await read_some(reader)


async def metadata(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """A run with a megabyte of metadata, and events that make its row be written again."""
    run = f"meta-{next(_numbers)}"
    start = {"event_type": "run_start", "sdk_run_id": run, "agent_name": "hostile", "metadata": {"m": "x" * MIB}}
    writer.write(post("/api/ingest", compact(start), key))
    await read_some(reader)
    for number in range(20):
        step = {"event_type": "step", "sdk_run_id": run, "event_id": f"{run}-{number}", "payload": {}}
        writer.write(post("/api/ingest", compact(step), key))
        await read_some(reader)


async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """A large event, and the same with other blanks."""
    event = {"event_type": "step", "sdk_run_id": "hostile", "event_id": f"r-{next(_numbers)}", "payload": _LARGE}
    for body in (compact(event), json.dumps(event).encode()):
        writer.write(post("/api/ingest", body, key))
        await read_some(reader)


async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """Ordinary events as fast as they are answered."""
    for _ in range(50):
        step = {"event_type": "step", "sdk_run_id": "hostile", "event_id": f"e-{next(_numbers)}", "payload": {"a": 1}}
        writer.write(post("/api/ingest", compact(step), key))
        await read_some(reader)


async def figures(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """Sums over all that there is."""
    writer.write(head("GET /api/v1/usage?by=hour", key))
    await read_some(reader)


async def waiting_claim(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """A worker of an agent that nobody asks for."""
    asked = {"worker_id": f"w-{next(_numbers)}", "agents": ["nobody"], "wait_seconds": 20}
    writer.write(post("/api/agents/runs/claim", compact(asked), key))
    await read_some(reader)


async def new_chain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """A new trace of spans one below the other, and then a model call below all of them, a request by itself."""
    trace = f"{next(_numbers) + 1:032x}"
    spans = [_span(trace, level + 1, level) for level in range(CHAIN)]
    call = _span(trace, CHAIN + 1, CHAIN) | {"attributes": _CALL}
    for sent in (spans, [call]):
        told = {"resourceSpans": [{"scopeSpans": [{"spans": sent}]}]}
        writer.write(post("/v1/traces", compact(told), key))
        await read_some(reader)


def _span(trace: str, number: int, parent: int) -> dict[str, Any]:
    """One below another of its trace; below 0: a root."""
    began = time.time_ns()
    told = {"traceId": trace, "spanId": f"{number:016x}", "name": "deep", "startTimeUnixNano": str(began)}
    above = {"parentSpanId": f"{parent:016x}"} if parent else {}
    return told | above | {"endTimeUnixNano": str(began + 1_000_000)}


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """A connection that says nothing."""
    await asyncio.sleep(DRIP_SECONDS)


FLOODS: dict[str, Flood] = {
    "slow heads": Flood(slow_head, 300, 0.5),
    "slow bodies": Flood(slow_body, 20, 0.5),
    "bodies without a key": Flood(body_without_key, 50, 0.5),
    "trailers": Flood(trailers, 4, 1.0),
    "pipelines": Flood(pipeline, 50, 1.0),
    "unread lists": Flood(unread_list, 10, 1.0),
    "unread streams": Flood(unread_stream, 120, 1.0),
    "blanks before the key": Flood(spaces, 4, 0.2),
    "guessed keys": Flood(guessed_key, 4, 0.5),
    "bombs": Flood(bomb, 2, 0.5),
    "depth": Flood(deep, 1, 1.0),
    "many members": Flood(many_members, 1, 2.0),
    "metadata": Flood(metadata, 1, 1.0),
    "repeats": Flood(repeat, 1, 2.0),
    "events": Flood(events, 4, 0.5),
    "figures": Flood(figures, 2, 0.5),
    "waiting claims": Flood(waiting_claim, 150, 0.5),
    "new chains": Flood(new_chain, 12, 0.1),
    "silent connections": Flood(hello, 50, 0.1),
}
_BOMB = gzip.compress(b" " * (16 * MIB - 2) + b"{}")
_LARGE = {"items": [{"n": number, "text": "towers " * 8} for number in range(40_000)]}
_CALL = [
    {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
    {"key": "gen_ai.request.model", "value": {"stringValue": "hostile"}},
    {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "1"}},
]
_numbers = itertools.count()


async def attempts(flood: Flood, port: int, key: str, source: str, ends_at: float) -> int:
    """One caller's attempts until the end; how many. What the server does to it is no concern of its own."""
    count = 0
    while (left := ends_at - time.monotonic()) > 0:
        count += 1
        try:
            opening = asyncio.open_connection(HOST, port, local_addr=(source, 0))
            reader, writer = await asyncio.wait_for(opening, CONNECT_SECONDS)
        except (OSError, TimeoutError):
            await asyncio.sleep(flood.pause_s)
            continue
        try:
            await asyncio.wait_for(flood.act(reader, writer, key), left)
        except (OSError, TimeoutError):
            pass
        finally:
            writer.transport.abort()
        await asyncio.sleep(flood.pause_s)
    return count


async def flood_all(port: int, key: str, seconds: float) -> dict[str, int]:
    """All kinds at once; the attempts of each kind."""
    ends_at = time.monotonic() + seconds

    async def kind(number: int, flood: Flood) -> int:
        source = f"127.0.1.{number + 1}"
        counts = await asyncio.gather(*(attempts(flood, port, key, source, ends_at) for _ in range(flood.callers)))
        return sum(counts)

    counts = await asyncio.gather(*(kind(number, flood) for number, flood in enumerate(FLOODS.values())))
    return dict(zip(FLOODS, counts, strict=True))


def main() -> None:
    """Prints the attempts of each kind as JSON."""
    os.nice(NICENESS)
    port, key, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    print(json.dumps(asyncio.run(flood_all(port, key, seconds))))


if __name__ == "__main__":
    main()
