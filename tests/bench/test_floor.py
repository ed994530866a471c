"""The floor is fair only while it keeps what it acknowledges; shown on the real process, killed without notice."""

import time
from pathlib import Path

import apsw
import pytest

from bench import servers
from bench.corpus import post
from bench.pace import PacedSender
from bench.servers import Server
from bench.ways import FloorWay, Target, timestamp
from bench.wire import Client

WAY = FloorWay()
TARGETS = [Target(n, f"run-{n}") for n in range(10)]


def stored(data_dir: Path) -> list[tuple[str, int]]:
    """(run, seq) of every event in the floor's file."""
    db = apsw.Connection(str(data_dir / "floor.db"))
    try:
        return list(db.execute("select run.key, event.seq from event join run on run.id = run_id order by 1, 2"))
    finally:
        db.close()


def send_some(server: Server) -> int:
    """Five single events and two batches of a hundred; how many were acknowledged."""
    acked = 0
    with Client(server.port, server.key) as client:
        for number in range(5):
            path, body = WAY.single(TARGETS, number, 1024, timestamp())
            acked += client.post(path, body).json()["n"]
        for number in range(2):
            path, body = WAY.batch(TARGETS, number, 100, 10, 1024, timestamp())
            acked += client.post(path, body).json()["n"]
    return acked


def test_what_the_floor_acknowledged_is_there_after_a_kill_and_dense_in_every_run(tmp_path: Path) -> None:
    with servers.floor(tmp_path / "data") as server:
        acked = send_some(server)
        server.kill()
    rows = stored(tmp_path / "data")
    assert acked == 205
    assert len(rows) == 205
    for target in TARGETS:
        seqs = [seq for run, seq in rows if run == target.name]
        assert seqs == list(range(1, len(seqs) + 1))


def test_a_server_is_gone_after_its_block_and_its_memory_and_time_can_be_read_before(tmp_path: Path) -> None:
    with servers.floor(tmp_path / "data") as server:
        assert server.resident_kib() > 5_000
        assert server.cpu_seconds() > 0
        assert server.ready_seconds > 0
        server.stop()
    assert server.process.returncode is not None


@pytest.mark.anyio
async def test_the_paced_sender_keeps_its_rate_and_gets_an_ack_for_each(tmp_path: Path) -> None:
    def request(number: int) -> bytes:
        return post(*WAY.single(TARGETS, number, 1024, timestamp()), key="none")

    with servers.floor(tmp_path / "data") as server:
        sender = PacedSender(server.port, request)
        began_ns = time.monotonic_ns()
        await sender.send(100, rate=500)
    assert sorted(sender.acked_ns) == list(range(100))
    assert all(sender.acked_ns[n] > sender.sent_ns[n] for n in range(100))
    assert all(sender.sent_ns[n] >= began_ns + n * 2_000_000 for n in range(100)), "none is sent before its time"
    assert len(stored(tmp_path / "data")) == 100
