"""Disk: a thread whose every turn sends its whole history again, against the bytes of the final history."""

from typing import Any

from bench import servers
from bench.context import Context
from bench.corpus import FILL, compact, prose
from bench.figures import Row
from bench.servers import bytes_in
from bench.ways import CheckpointsWay, event_id, timestamp
from bench.wire import Client, Refused

NAME = "disk"
MESSAGE_BYTES = 1024
MAX_TIMES_HISTORY = 4.0
THREAD = {"thread_id": "long-thread", "trace_id": "long-trace", "agent_id": "writer"}


def message(number: int) -> dict[str, Any]:
    """The number-th message of the thread; as JSON it is MESSAGE_BYTES long."""
    role = "assistant" if number % 2 else "user"
    value = {"role": role, "content": FILL}
    room = MESSAGE_BYTES - len(compact(value)) + len(FILL)
    return {"role": role, "content": prose(number, room)}


def meta_of(number: int) -> dict[str, Any]:
    """What is known of the number-th message beside its text; it never changes after the message's own turn."""
    when = f"2026-01-01T{number // 60:02d}:{number % 60:02d}:00.000Z"
    return {"ts": when, "tokens_in": 200, "tokens_out": 200} if number % 2 else {"ts": when}


def checkpoint(history: list[dict[str, Any]], turn: int) -> dict[str, Any]:
    """The event that a runner sends after this turn."""
    meta = [meta_of(number) for number in range(len(history))]
    data = {
        **THREAD,
        "step_index": turn,
        "status": "in_progress",
        "history": history,
        "history_meta": meta,
        "tokens_used": 400 * turn,
        "input_tokens": 200 * turn,
        "output_tokens": 200 * turn,
        "turn_start_history_len": len(history) - 2,
        "pending_tool_calls": [],
        "run_cost_usd": turn / 1000,
    }
    return {"type": "checkpoint", "event_id": event_id(turn), "occurred_at": timestamp(turn), "data": data}


def send_thread(client: Client, turns: int) -> int:
    """Send the thread turn by turn, two messages each; the bytes of the final history as JSON."""
    way = CheckpointsWay()
    history: list[dict[str, Any]] = []
    for turn in range(1, turns + 1):
        history += [message(2 * turn - 2), message(2 * turn - 1)]
        reply = client.post("/v1/runners/events", compact({"events": [checkpoint(history, turn)]}))
        if not way.confirms(reply, 1):
            raise Refused(f"a checkpoint was answered {reply.body[:300]!r}")
    latest = client.get(f"/v1/runners/threads/{THREAD['thread_id']}/latest").json()
    if latest["history"] != history:
        raise Refused("the history that was read back is not the one that was sent")
    return len(compact(history))


def measure(context: Context) -> list[Row]:
    """Bytes of the data folder after a clean shutdown: before the thread and after it."""
    turns = context.effort.thread_turns
    with context.folder(NAME) as folder:
        data = folder / "data"
        with servers.towerlog(data) as server:
            server.stop()
        empty = bytes_in(data)
        with servers.towerlog(data) as server:
            with Client(server.port, server.key) as client:
                final = send_thread(client, turns)
            server.stop()
        full = bytes_in(data)
    detail = {"empty_bytes": empty, "bytes": full, "final_history_bytes": final}
    name = f"a {turns}-turn thread of 1 KB messages"
    return [
        Row(
            NAME,
            f"{name}: growth on disk",
            "× history",
            (full - empty) / final,
            threshold=MAX_TIMES_HISTORY,
            detail=detail,
        ),
        Row(NAME, f"{name}: whole data folder", "× history", full / final, threshold=MAX_TIMES_HISTORY),
    ]
