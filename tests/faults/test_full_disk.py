"""A full disk stops writes and nothing else, and they come back by themselves; a stop on it is an orderly one."""

from __future__ import annotations

import itertools
import json
import os
import resource
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import httpx2
import pytest

from tests.faults.disk import LOG, Done, Faulty, FaultyServer, Load, calls, event_ids, on_read_only
from tests.support.senders import ingest, sdk_event
from tests.support.server import NO_LIMITS, Server, executable
from tests.support.wait import wait_until
from towerlog.store.sqlite.connections.connection import PAGE_BYTES

ALL_FULL = ("write .db ENOSPC 0 -1", "write .db-wal ENOSPC 0 -1", "write .db-shm ENOSPC 0 -1")
COPY = "copy.db"
COMMANDS = (
    ("verify",),
    ("backup", COPY),
    ("rebuild",),
    ("keys", "ls"),
    ("keys", "create", "--init", "--name", "n", "--scopes", "read"),
)
MIB = 1024 * 1024
LOG_BYTES = 256 * MIB
"""What the log never takes, as the docs say."""
DISK = "towerlog_disk"
REFUSALS = 4
"""In a row, until it is believed that no more is taken."""
BEGAN, ENDED = "writes are refused until one succeeds; one is tried each second", "writes are taken again"


def slow(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.slow)


def send(server: Server, event_id: str) -> int:
    """The status."""
    return ingest(
        server.client(), sdk_event("step", "run", {"text": "x"}, event_id=event_id, agent_name="a")
    ).status_code


def assert_full(server: FaultyServer) -> None:
    """Writes are refused, and why."""
    assert send(server, "refused") == 503
    reply = server.client().post("/v1/threads/t/runs")
    assert (reply.status_code, "disk.full" in reply.text) == (503, True), reply.text
    assert reply.headers["Retry-After"]


def ready(server: Server) -> str:
    return ready_of(server.client(None)) or ""


def ready_of(client: httpx2.Client) -> str | None:
    """What `/readyz` says; None while nobody answers."""
    try:
        return str(client.get("/readyz").json()["status"])
    except httpx2.TransportError:
        return None


def told_of_writes(server: Server) -> list[dict[str, object]]:
    """What the log says of writes. Nothing else may be in it twice: what lasts is told when it begins and ends."""
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    said = [line["event"] for line in lines]
    assert len(set(said)) == len(said), server.log
    return [line for line in lines if line["event"] in (BEGAN, ENDED)]


def refused_by_metrics(server: Server) -> int:
    lines = server.client(None).get("/metrics").text.splitlines()
    return next(int(float(line.split()[1])) for line in lines if line.startswith("towerlog_writes_refused "))


def failed_writes(server: FaultyServer) -> list[Done]:
    return [done for done in calls(server.record) if done.failed and done.name == LOG]


def more(load: Load) -> None:
    """Waits until more has been acknowledged than now."""
    seen = len(load.acked)
    wait_until(lambda: len(load.acked) > seen + 10, "more to be taken")


@pytest.mark.parametrize("rule", ["write .db ENOSPC 0 -1", slow("write .db EDQUOT 0 -1"), slow("write .db EFBIG 0 -1")])
def test_a_checkpoint_without_room_passes_and_is_told(faulty: Faulty, rule: str) -> None:
    server = faulty("hurried")
    with Load(server) as load:
        more(load)
        server.fail(rule)
        wait_until(lambda: ready(server) == "checkpoint_failed", "the checkpoint to fail")
        assert "towerlog_checkpoints_failed_total 0.0" not in server.client(None).get("/metrics").text
        more(load)
        server.fail()
        wait_until(lambda: ready(server) == "ready", "the next checkpoint")
        more(load)
        assert not load.refused
    server.stop()
    assert set(load.acked) <= event_ids(server.data_dir / "towerlog.db")


@pytest.mark.slow
def test_a_checkpoint_that_is_held_against_all_commits_is_found(faulty: Faulty) -> None:
    server = faulty("hurried", "checkpoint_remembered")
    with Load(server) as load:
        more(load)
        server.fail("write .db ENOSPC 0 -1")
        wait_until(lambda: 503 in load.refused, "writes to be refused")
        server.fail()
        refused = len(load.refused)
        wait_until(lambda: len(load.refused) > refused + 100, "more to be refused, though there is room")


@pytest.mark.parametrize("errno", ["EDQUOT", slow("ENOSPC"), slow("EFBIG")])
def test_a_log_without_room_refuses_and_comes_back(faulty: Faulty, errno: str) -> None:
    server = faulty()
    assert send(server, "before") == 200
    assert refused_by_metrics(server) == 0
    server.fail(f"write .db-wal {errno} 0 -1")
    assert send(server, "refused") == 503
    assert ready(server) == "disk_full", "the reply is enough: nobody has to wait until it is noticed"
    assert_full(server)
    assert server.client().get("/v1/runs").status_code == 200
    assert refused_by_metrics(server) == 1
    found = server.cli("doctor", "--json")
    assert [one["verdict"] for one in json.loads(found.stdout)["checks"] if "disk_full" in one["message"]] == ["wrong"]
    tried = len(failed_writes(server))
    wait_until(lambda: len(failed_writes(server)) > tried + 2, "the server to try again by itself")
    server.fail()
    wait_until(lambda: ready(server) == "ready", "a try to succeed, though nobody writes")
    assert refused_by_metrics(server) == 0
    assert send(server, "after") == 200
    assert [one["event"] for one in told_of_writes(server)] == [BEGAN, ENDED]
    server.stop()
    assert event_ids(server.data_dir / "towerlog.db") == {"before", "after"}


def test_the_largest_size_of_a_file_is_told_as_a_full_disk(tmp_path: Path) -> None:
    """By the limit itself, with no library between: a file system that has room says nothing of it."""
    with Server(tmp_path / "data", {**NO_LIMITS, "TOWERLOG_DISK_GUARD_MIB": "0"}) as server:
        assert send(server, "before") == 200
        assert server.process is not None
        _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        # No log has room for a page then, wherever it begins; the lines on standard error have.
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (PAGE_BYTES, hard))
        assert send(server, "refused") == 503
        assert ready(server) == "disk_full"
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        wait_until(lambda: ready(server) == "ready", "a try to succeed, though nobody writes")
        assert send(server, "after") == 200
        [began, _] = told_of_writes(server)
        assert "largest size" in str(began["error"])


@pytest.mark.slow
def test_the_guard_refuses_writes_and_nothing_else(faulty: Faulty) -> None:
    server = faulty(TOWERLOG_DISK_GUARD_MIB="100")
    client = server.client()
    assert send(server, "before") == 200
    key = server.create_key("ingest")
    server.fail(f"free - {99 * MIB}")
    wait_until(lambda: ready(server) == "disk_full", "the guard to see it")
    assert_full(server)
    assert client.get("/v1/runs").status_code == 200
    lines = client.get("/metrics").text.splitlines()
    assert {name: float(figure) for name, figure in (line.split() for line in lines if line.startswith(DISK))} == {
        "towerlog_disk_free_bytes": 99.0 * MIB,
        "towerlog_disk_guard_bytes": 100.0 * MIB,
    }
    assert client.delete(f"/api/v1/keys/{key['key_id']}").status_code < 300, "what makes nothing larger goes on"
    doctor = server.cli("doctor", "--json")
    assert '"check":"disk","verdict":"wrong"' in doctor.stdout.replace(" ", ""), doctor.stdout
    server.says(BEGAN)
    server.fail(f"free - {101 * MIB}")
    wait_until(lambda: send(server, "after") == 200, "writes to come back")
    assert [one["event"] for one in told_of_writes(server)] == [BEGAN, ENDED]


@pytest.mark.parametrize("ends", ["stop", "kill"])
def test_a_start_below_the_guard_reads_and_deletes(tmp_path: Path, ends: str) -> None:
    with Server(tmp_path / "data", NO_LIMITS) as server:
        assert send(server, "before") == 200
        ingest(server.client(), sdk_event("run_end", "run", {"output": "x"}, agent_name="a"))
        getattr(server, ends)()
    with closing(Server(tmp_path / "data", {**NO_LIMITS, "TOWERLOG_DISK_GUARD_MIB": str(1 << 30)})) as server:
        server.start(lambda client: ready_of(client) == "disk_full")
        assert_full(server)
        [run] = server.client().get("/v1/runs").json()
        assert server.client().delete(f"/api/v1/runs/{run['run_id']}").status_code < 300, "what makes room goes on"
        server.stop()


@pytest.mark.slow
def test_a_stop_on_a_full_disk_is_an_orderly_one(faulty: Faulty) -> None:
    server = faulty()
    assert send(server, "kept") == 200
    server.fail(*ALL_FULL)
    assert send(server, "refused") == 503
    server.stop()
    assert "Traceback" not in server.log
    server.fail()
    server.start()
    server.stop()
    assert event_ids(server.data_dir / "towerlog.db") == {"kept"}


@pytest.mark.slow
def test_a_stop_waits_for_no_sync_that_does_not_end(faulty: Faulty) -> None:
    server = faulty()
    assert send(server, "kept") == 200
    # A sync takes longer than `Server.stop` waits: without a deadline of its own the server would be killed there.
    server.fail("sync .db 300000 0 -1", "sync .db-wal 300000 0 -1")
    server.stop()
    server.fail()
    server.start()
    server.stop()
    assert "kept" in event_ids(server.data_dir / "towerlog.db")


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_a_start_on_a_full_disk_says_so(faulty: Faulty, again: bool) -> None:
    server = faulty()
    server.stop()
    if not again:
        shutil.rmtree(server.data_dir)
    server.fail(*ALL_FULL)
    with pytest.raises(AssertionError, match=r"disk is full|No space left on device") as raised:
        server.start()
    assert "cannot listen" not in str(raised.value)
    assert "not an error" not in str(raised.value)
    [said] = [line for line in str(raised.value).splitlines() if line.startswith("towerlog: ")]
    assert f"{server.data_dir}/" in said, "its place is named"
    assert "before it was ready" in str(raised.value)
    assert "with 70" in str(raised.value)
    server.process = None


@pytest.mark.slow
def test_a_reader_that_stands_still_holds_writes_up_before_the_log_is_long(faulty: Faulty) -> None:
    server = faulty("short_log")
    log = server.data_dir / "towerlog.db-wal"
    with Load(server, event_bytes=100_000) as load:
        more(load)
        with standing_reader(server):
            wait_until(lambda: 503 in load.refused, "writes to be held up")
            held = log.stat().st_size
            refused = len(load.refused)
            wait_until(lambda: len(load.refused) > refused + 1, "more to be held up")
            assert log.stat().st_size < held + MIB < 8 * MIB
        more(load)
    server.stop()


@pytest.mark.slow
def test_the_log_stays_below_its_bound_beside_a_reader_that_stands_still(tmp_path: Path) -> None:
    """With the bounds as they are: beside a reader that stands still, whatever is sent is more log."""
    with Server(tmp_path / "data", NO_LIMITS) as server:
        log = server.data_dir / "towerlog.db-wal"
        assert send(server, "before") == 200
        with standing_reader(server):
            status = 200
            while status == 200 and log.stat().st_size < LOG_BYTES:
                status = send_noise(server)
            assert log.stat().st_size < LOG_BYTES
            assert status == 503
            assert ready(server) == "writes_refused"
            assert {send_noise(server) for _ in range(3)} == {503}
            assert log.stat().st_size < LOG_BYTES
        wait_until(lambda: ready(server) == "ready", "the log to start anew")
        assert send_noise(server) == 200
        assert len(told_of_writes(server)) == 2


def send_noise(server: Server) -> int:
    """As large an event as there may be, which packing makes a quarter shorter; the status."""
    text = b64encode(os.urandom(3 * MIB - 1024)).decode()
    return ingest(server.client(), sdk_event("step", "run", {"text": text}, agent_name="a")).status_code


@pytest.mark.slow
def test_a_log_without_a_bound_is_found(faulty: Faulty) -> None:
    server = faulty("log_without_a_bound")
    log = server.data_dir / "towerlog.db-wal"
    with Load(server, event_bytes=100_000) as load:
        more(load)
        with standing_reader(server):
            wait_until(lambda: log.stat().st_size > 8 * MIB, "the log to grow")
        assert not load.refused


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_on_a_full_disk_says_so(faulty: Faulty, tmp_path: Path, command: tuple[str, ...]) -> None:
    server = faulty()
    server.stop()
    server.fail(*ALL_FULL)
    done = server.cli(*(str(tmp_path / one) if one == COPY else one for one in command))
    assert done.returncode == 70, done.stderr
    assert_said(done, "disk is full")
    assert command[0] not in ("verify", "backup") or "stored" not in done.stderr, "nothing was to be"
    assert str(tmp_path) in done.stderr, "its place is named"


@pytest.mark.slow
@pytest.mark.parametrize("command", [("serve", "--port", "0"), *COMMANDS], ids=" ".join)
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "again"])
def test_a_command_on_a_read_only_disk_says_so(
    filled: Path, tmp_path: Path, is_first: bool, command: tuple[str, ...]
) -> None:
    source, place = tmp_path / "source", tmp_path / "place"
    for folder in (source, place):
        folder.mkdir()
    if not is_first:
        shutil.copy(filled, source)
    arguments = [str(tmp_path / one) if one == COPY else one for one in command]
    done = on_read_only(source, place, [executable(), *arguments, "--data-dir", place])
    if not is_first and command[0] in ("verify", "backup"):
        assert (done.returncode, done.stderr) == (0, ""), "nothing has to be written there"
        return
    assert done.returncode == 69, done.stderr
    if is_first and command[0] != "serve" and "--init" not in command:
        assert_said(done, "no store here")
    else:
        assert_said(done, "read-only", "Read-only file system")


def assert_said(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """In one line, and in words."""
    assert any(one in done.stderr for one in words), done.stderr
    assert "not an error" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


@contextmanager
def standing_reader(server: FaultyServer) -> Iterator[None]:
    """A transaction that reads, and is not ended."""
    with closing(apsw.Connection(str(server.data_dir / "towerlog.db"), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        db.execute("BEGIN")
        assert db.execute("SELECT count(*) FROM event").get
        yield


@contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[bool]:
    """A disk of its own at this folder, where this user may mount one; whether there is."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "tmpfs", str(folder)]
    is_mounted = shutil.which("mount") is not None and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("has_policy", [False, True], ids=["erased", "retention"])
@pytest.mark.parametrize(("mib", "guard_mib"), [(64, 4), (96, 24)])
def test_a_store_that_fills_its_own_disk_goes_on_deleting(
    faulty: Faulty, tmp_path: Path, mib: int, guard_mib: int, has_policy: bool
) -> None:
    """Where this user may mount no disk of its own, the free bytes alone are those of one that was filled."""
    with small_disk(tmp_path / "small", mib) as is_mounted:
        place = tmp_path / "small" if is_mounted else None
        server = faulty(at=place, TOWERLOG_DISK_GUARD_MIB=str(guard_mib))
        client = server.client()
        runs = fill_by_itself(client) if is_mounted else [str(send_run(client, 0))]
        if not is_mounted:
            server.fail(f"free - {2 * MIB}")
        if is_mounted:
            server.restart()
        assert client.get("/v1/runs").status_code == 200
        make_room(client, runs, has_policy)
        if not is_mounted:
            server.fail()
        numbers = itertools.count(len(runs))
        for _ in range(5):
            wait_until(lambda: isinstance(send_run(client, next(numbers)), str), "room to be made")
        server.stop()
        assert server.cli("verify").returncode == 0


def fill_by_itself(client: httpx2.Client) -> list[str]:
    """Sends runs until the server takes no more, however short its log becomes; their ids."""
    runs: list[str] = []
    refused = 0
    while refused < REFUSALS:
        told = send_run(client, len(runs))
        if isinstance(told, str):
            runs.append(told)
            refused = 0
        else:
            assert told == 503
            refused += 1
            wait_until(lambda: is_ready(client), "the server to have tried to write")
    return runs


def is_ready(client: httpx2.Client) -> bool:
    return bool(client.get("/readyz").status_code == 200)


def send_run(client: httpx2.Client, number: int) -> str | int:
    """A run of some 500 KiB that has ended: its id, or the status with which it was refused."""
    key = f"run-{number}"
    types = [*["message.delta"] * 100, "run.completed"]
    events = [
        {
            "event_id": f"{key}-{at}",
            "client_seq": at,
            "run_key": key,
            "type": of,
            "data": {"content": os.urandom(5000).hex()} if of == "message.delta" else {"result": "x"},
        }
        for at, of in enumerate(types, 1)
    ]
    reply = client.post("/api/v1/events", json={"client_id": key, "events": events})
    if reply.status_code != 200:
        return reply.status_code
    assert not reply.json().get("rejected"), reply.text[:300]
    return str(reply.json()["results"][0]["run_id"])


def make_room(client: httpx2.Client, runs: list[str], has_policy: bool) -> None:
    if has_policy:
        reply = client.put("/api/v1/retention/deltas", json={"max_bytes": 100_000})
        assert reply.status_code == 200, reply.text
        return
    for run in runs[: len(runs) // 2 or 1]:
        reply = client.delete(f"/api/v1/runs/{run}")
        assert reply.status_code == 200, reply.text


@pytest.mark.slow
def test_twenty_rounds_of_a_disk_that_fills_lose_nothing(faulty: Faulty, tmp_path: Path) -> None:
    """On a disk of its own where this user may mount one; else the calls fail as they would on it."""
    with small_disk(tmp_path / "small", 48) as is_mounted:
        server = faulty("hurried", at=tmp_path / "small" if is_mounted else None, TOWERLOG_DISK_GUARD_MIB="0")
        process = server.process
        with Load(server) as load:
            for _ in range(20):
                more(load)
                if is_mounted:
                    fill(tmp_path / "small" / "filler")
                else:
                    server.fail(*ALL_FULL)
                refused = len(load.refused)
                wait_until(lambda refused=refused: len(load.refused) > refused, "a write to be refused")
                assert server.client().get("/v1/runs").status_code == 200
                server.fail()
                (tmp_path / "small" / "filler").unlink(missing_ok=True)
        assert server.process is process
        server.stop()
        assert set(load.acked) <= event_ids(server.data_dir / "towerlog.db")


def fill(file: Path) -> None:
    """Takes all the room that is left."""
    with file.open("wb", buffering=0) as filler:
        piece = bytes(64 * 1024)
        while piece:
            try:
                filler.write(piece)
            except OSError:
                piece = piece[: len(piece) // 2]
