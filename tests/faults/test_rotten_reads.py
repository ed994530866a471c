"""Nothing that is not what was written is served: a damaged event is named, and what lies around it is still there."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import httpx2
import pytest

from tests.cli.commands import answered
from tests.faults.conftest import Serve
from tests.faults.disk import CHANGES, Faulty
from tests.faults.rotten import (
    AGENT,
    INDEX_LEAF,
    LAST,
    RUN,
    THREAD,
    change_bytes,
    event_id,
    mark,
    ruin_page,
    ruin_pages_of,
)
from tests.support.readback import ReadBack
from tests.support.samples import slow
from tests.support.senders import ingest, sdk_event
from tests.support.server import NO_LIMITS, Server
from tests.support.sse import Frame, parse_frames
from tests.support.wait import wait_until

BAD = 40


def run_id_of(client: httpx2.Client) -> str:
    found = client.get("/api/v1/runs", params={"agent": AGENT}).json()["data"]
    return str(found[0]["run_id"])


def frames_of(client: httpx2.Client, path: str, **query: Any) -> list[Frame]:
    """Every frame of a stream that comes to its end."""
    reply = client.get(path, params={"follow": "false", **query})
    assert reply.status_code == 200, reply.text
    return [frame for frame in parse_frames(reply.content) if frame.data is not None]


def metric(server: Server, name: str) -> float:
    """A figure of /metrics, which needs no key on this machine."""
    text = server.client(None).get("/metrics").text
    return float(next(line.split(" ")[1] for line in text.splitlines() if line.startswith(f"{name} ")))


def change_body(path: Path) -> None:
    change_bytes(path, mark(BAD).encode(), mark(BAD).replace("mark", "murk").encode())


def change_id(path: Path) -> None:
    change_bytes(path, event_id(BAD).encode(), b"id-\xff\xff\xff\xff")


@pytest.mark.parametrize("damage", [change_body, pytest.param(change_id, marks=pytest.mark.slow)])
def test_one_damaged_event_is_named_everywhere_and_hides_no_other(path: Path, serve: Serve, damage: Any) -> None:
    damage(path)
    server = serve()
    client = server.client()
    run_id = run_id_of(client)

    page = client.get(f"/api/v1/runs/{run_id}/events", params={"limit": 500}).json()
    assert [event["seq"] for event in page["data"]] == list(range(1, BAD))
    refused = client.get(f"/api/v1/runs/{run_id}/events", params={"limit": 500, "cursor": page["next"]})
    assert (refused.status_code, refused.json()["code"]) == (500, "damaged")
    assert f"Event {BAD} of run {run_id} is damaged" in refused.json()["detail"]
    rest = client.get(f"/api/v1/runs/{run_id}/events", params={"limit": 500, "after_seq": BAD}).json()
    assert [event["seq"] for event in rest["data"]] == list(range(BAD + 1, LAST + 1))

    frames = frames_of(client, f"/v1/runs/{run_id}/events")
    seqs = [frame.json["seq"] for frame in frames if frame.event is None]
    assert seqs == [seq for seq in range(1, LAST + 1) if seq != BAD]
    [gap] = [frame.json for frame in frames if frame.event == "gap"]
    assert (gap["run_id"], gap["seq"], gap["requested"], gap["oldest_seq"]) == (run_id, BAD, BAD - 1, BAD + 1)
    assert frames[-1].event == "end"

    agent_id = ReadBack(client).agent_id(AGENT)
    shown = client.get(f"/agents/{agent_id}/events", params={"tail": 500})
    assert shown.headers["x-damaged"] == f"{run_id}#{BAD}"
    assert "murk" not in shown.text
    assert metric(server, "towerlog_damaged_reads_total") >= 4
    told = "a stored event is damaged"
    assert server.says(told).count(told) == 1, "once, however often it is read"
    assert client.get("/readyz").status_code == 200, "one event of many is no reason to serve nobody"


@pytest.mark.parametrize("first", [pytest.param(1, marks=pytest.mark.slow), BAD - 1])
def test_what_stands_behind_an_event_that_is_gone_is_not_served_unchecked(path: Path, serve: Serve, first: int) -> None:
    """Wherever the reading begins. Only a trim takes events away, and it leaves what the next one is checked with."""
    with closing(apsw.Connection(str(path))) as db:
        db.execute(
            "DELETE FROM event WHERE seq = ? AND run = (SELECT run FROM event WHERE event_id = ?)",
            (first, event_id(BAD)),
        )
    change_bytes(path, mark(first + 1).encode(), mark(first + 1).replace("mark", "murk").encode())
    client = serve().client()
    run_id = run_id_of(client)
    for after in (first - 1, first):
        refused = client.get(f"/api/v1/runs/{run_id}/events", params={"after_seq": after})
        assert (refused.status_code, refused.json().get("code")) == (500, "damaged")
    frames = frames_of(client, f"/v1/runs/{run_id}/events")
    assert [frame.json["seq"] for frame in frames if frame.event == "gap"] == [first, first + 1]
    assert "murk" not in str(frames)


@pytest.mark.parametrize("name", ["event_by_id", *(slow(one) for one in ("event_by_seq", "run", "usage"))])
def test_damage_that_a_write_meets_is_refused_and_the_server_goes_on(path: Path, serve: Serve, name: str) -> None:
    ruin_pages_of(path, name)
    server = serve()
    client = server.client()
    for _ in range(3):
        refused = ingest(client, sdk_event("step", "new", {}, agent_name="b", event_id=f"{event_id(BAD)}-"))
        assert (refused.status_code, "damaged" in refused.text) == (503, True), refused.text
    assert client.get("/readyz").status_code == 503, "after repeats, as for reads"
    assert metric(server, "towerlog_read_failures_total") >= 3
    assert client.get("/api/v1/agents").status_code == 200
    if name == "event_by_id":
        assert ingest(client, sdk_event("step", "other", {}, agent_name="b")).status_code == 200
    server.restart()
    server.stop()
    assert answered("rebuild", "--data-dir", path.parent)["ok"] is True
    server.start()
    stored = ingest(server.client(), sdk_event("step", "new", {}, agent_name="b", event_id=f"{event_id(BAD)}-"))
    assert stored.status_code == 200


@pytest.mark.slow
def test_reads_that_check_nothing_are_found(path: Path) -> None:
    """The law above sees the defect that it is for: what was changed would be served with 200."""
    change_body(path)
    server = Server(path.parent, {**NO_LIMITS, "PYTHONPATH": str(CHANGES), "FAULTY_CHANGES": "hash_not_checked"})
    try:
        client = server.start().client()
        page = client.get(f"/api/v1/runs/{run_id_of(client)}/events", params={"limit": 500}).json()
        assert [event["seq"] for event in page["data"]] == list(range(1, LAST + 1))
    finally:
        server.close()


@pytest.mark.slow
def test_a_repeat_of_a_damaged_event_is_known_by_its_digest(path: Path, serve: Serve) -> None:
    """Its sender has the body, and learns that it was stored: nothing of what is damaged is shown or compared."""
    change_body(path)
    client = serve().client()
    for seq in (BAD - 1, BAD, BAD + 1):
        body = {"tool_name": "t", "arguments": {"mark": mark(seq), "text": "x" * 400}}
        reply = ingest(client, sdk_event("tool_call", RUN, body, agent_name=AGENT, event_id=event_id(seq)))
        assert reply.status_code == 200, reply.text
    page = client.get(f"/api/v1/runs/{run_id_of(client)}/events", params={"limit": 500, "after_seq": BAD}).json()
    assert page["data"][-1]["seq"] == LAST, "and it is stored once"


@pytest.mark.slow
def test_an_id_whose_event_cannot_be_read_is_refused_alone(path: Path, serve: Serve) -> None:
    with closing(apsw.Connection(str(path))) as db:
        db.execute("UPDATE event SET type = 'tool.cull' WHERE event_id = ?", (event_id(BAD),))
    client = serve().client()
    for seq, status in ((BAD - 1, 200), (BAD, 500), (BAD + 1, 200)):
        body = {"tool_name": "t", "arguments": {"mark": mark(seq), "text": "x" * 400}}
        reply = ingest(client, sdk_event("tool_call", RUN, body, agent_name=AGENT, event_id=event_id(seq)))
        assert reply.status_code == status, reply.text
        assert status == 200 or f"Event {BAD} of run" in reply.text


@pytest.mark.slow
def test_a_page_that_is_gone_costs_what_lay_on_it(path: Path, serve: Serve) -> None:
    ruin_page(path, mark(BAD).encode())
    server = serve()
    client = server.client()
    run_id = run_id_of(client)
    frames = frames_of(client, f"/v1/runs/{run_id}/events")
    seqs = [frame.json["seq"] for frame in frames if frame.event is None]
    gone = [frame.json["seq"] for frame in frames if frame.event == "gap"]
    assert sorted([*seqs, *gone]) == list(range(1, LAST + 1)), "each event once, or named once"
    assert BAD in gone
    assert 10 < len(gone) < LAST / 2
    assert frames[-1].event == "end"
    assert metric(server, "towerlog_read_failures_total") >= 1
    server.says("a read of the store failed")
    # It repeats: whoever balances the load sends people elsewhere.
    for _ in range(3):
        client.get(f"/api/v1/runs/{run_id}/events", params={"limit": 500})
    assert client.get("/readyz").json() == {"status": "storage_failed"}


@pytest.mark.slow
def test_an_index_that_is_gone_ends_in_a_gap_and_not_in_a_loop(path: Path, serve: Serve) -> None:
    ruin_pages_of(path, "event_by_seq")
    client = serve().client()
    run_id = run_id_of(client)
    [gap, end] = frames_of(client, f"/v1/runs/{run_id}/events", after_seq=7)
    assert gap.event == "gap"
    assert (gap.json["requested"], gap.json["oldest_seq"], gap.json["run_id"]) == (7, LAST + 1, run_id)
    assert end.event == "end"


@pytest.mark.slow
def test_an_index_row_that_was_flipped_hides_no_event(path: Path, serve: Serve) -> None:
    """The event stands under another run's number in the index: a hole, which is named."""
    # A row of event_by_seq: its header, the run (6 bytes), the seq (1 byte), the rowid (6 bytes).
    run, other = (1 << 40 | 1).to_bytes(6, "big"), (1 << 40 | 9).to_bytes(6, "big")
    seq_and_key = bytes([BAD]) + run[:2]
    change_bytes(path, run + seq_and_key, other + seq_and_key, page_kind=INDEX_LEAF)
    client = serve().client()
    run_id = run_id_of(client)
    frames = frames_of(client, f"/v1/runs/{run_id}/events")
    told: list[int] = []
    for frame in frames[:-1]:
        lost = frame.json["missing"] if frame.event == "gap" else 1
        told += range(frame.json["seq"] - lost + 1, frame.json["seq"] + 1)
    assert told == list(range(1, LAST + 1)), "each event once, or named once"
    [gap] = [frame.json for frame in frames if frame.event == "gap"]
    assert gap["requested"] < BAD < gap["oldest_seq"]
    assert gap["missing"] < 10
    page = client.get(f"/api/v1/runs/{run_id}/events", params={"limit": 500, "after_seq": BAD - 1})
    assert (page.status_code, page.json()["code"]) == (500, "damaged")


@pytest.mark.slow
def test_a_damaged_message_is_no_part_of_a_history(path: Path, serve: Serve) -> None:
    change_bytes(path, b"the only answer", b"the evil answer")
    client = serve().client()
    reply = ReadBack(client).latest(THREAD)
    assert reply.status_code == 500
    assert "event 2 of run" in reply.text
    assert "evil" not in reply.text


@pytest.mark.slow
def test_ready_means_that_real_pages_can_be_read(path: Path, serve: Serve) -> None:
    client = serve().client()
    assert client.get("/readyz").status_code == 200
    ruin_pages_of(path, "migration")
    reply = client.get("/readyz")
    assert (reply.status_code, reply.json()) == (503, {"status": "storage_failed"})


@pytest.mark.parametrize("file", [".db", ".db-wal"])
def test_a_page_that_the_disk_does_not_hand_out_is_told_as_that_and_not_as_damage(
    faulty: Faulty, path: Path, file: str
) -> None:
    """In the database, and in its log."""
    server = faulty(at=path.parents[1], FAULTY_READS="1")
    client = server.client()
    run_id = run_id_of(client)
    if file == ".db-wal":
        ingest(client, sdk_event("run_start", "fresh", {"input": "go"}, agent_name="beta", event_id="id-fresh"))
        [fresh] = client.get("/api/v1/runs", params={"agent": "beta"}).json()["data"]
        run_id = fresh["run_id"]
    server.fail(f"read {file} EIO 0 -1")
    page = client.get(f"/api/v1/runs/{run_id}/events")
    assert page.status_code in (500, 503)
    server.says("a read of the store failed")
    assert "a read from disk failed" in page.text, page.text
    assert "damaged" not in page.json()["detail"], page.text
    server.fail()
    wait_until(lambda: client.get(f"/api/v1/runs/{run_id}/events").status_code == 200, "reads to work again")
    server.stop()
    assert server.cli_json("verify")["ok"]
