"""A log that nobody reads holds up nothing: neither requests nor the end of the process, whichever it is."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.disk import FaultyServer
from tests.support.senders import ingest, sdk_event
from tests.support.server import Server, wait_for_exit

PIPE_BYTES = 4096
ENDS_WITHIN_S = 1.0
OF_A_BUSY_MACHINE_S = 9.0
"""What a process that ends at once may take to be seen as ended while other tests run."""


@contextmanager
def unread(server: Server) -> Iterator[None]:
    """Starts a server whose log goes into a pipe that is full once it is ready."""
    os.mkfifo(server.log_path)
    reader = os.open(server.log_path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    writer = os.open(server.log_path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        server.start()
        fill(writer)
        yield
    finally:
        os.close(writer)
        server.close()
        os.close(reader)


def fill(writer: int) -> None:
    for size in (512, 1):
        try:
            while True:
                os.write(writer, b"\n" * size)
        except BlockingIOError:
            pass


def step(number: int) -> dict[str, object]:
    return sdk_event("step", "r", {}, agent_name="a", event_id=f"e{number}")


def test_after_a_failed_sync_the_process_ends_at_once_though_nobody_reads_its_log(
    library: Path, tmp_path: Path
) -> None:
    server = FaultyServer(library, tmp_path / "server")
    with unread(server):
        client = server.client()
        assert ingest(client, step(0)).status_code == 200
        server.fail("sync .db-wal EIO 0 1")
        assert ingest(client, step(1)).status_code == 503
        process = server.process
        assert process is not None
        assert wait_for_exit(process, ENDS_WITHIN_S + OF_A_BUSY_MACHINE_S), "it is still there"
        assert process.returncode == 70
        server.process = None


def test_requests_and_an_orderly_end_do_not_wait_for_who_reads_the_log(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", {"TOWERLOG_ACCESS_LOG": "true", "TOWERLOG_RATE_LIMIT": "0"})
    with unread(server):
        client = server.client()
        for number in range(60):
            assert ingest(client, step(number)).status_code == 200
            assert client.get("/healthz").status_code == 200
        process = server.process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        assert wait_for_exit(process, OF_A_BUSY_MACHINE_S), "it waits for somebody who reads its log"
        assert process.returncode == 0
        server.process = None
