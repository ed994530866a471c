"""A real server on a disk that fails on demand (`disk.c`), and what a power cut at any moment leaves of its files."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import httpx2

from tests.support.senders import ingest, sdk_event
from tests.support.server import NO_LIMITS, Server, clean_environment, wait_for_exit
from towerlog.errors import StorageFailed, StoreTorn
from towerlog.store.sqlite.upkeep.matching_files import check_whole

SOURCE = Path(__file__).with_name("disk.c")
CHANGES = Path(__file__).with_name("changed")
HEAD = struct.Struct("<BBHIIQ")
SECTOR_BYTES = 512
DATABASE, LOG, FOLDER = ".db", ".db-wal", "/"
KEPT = (DATABASE, LOG, ".db-journal")
"""What a power cut is looked at for; the index of the log is made anew, and locks are nothing on disk."""
EXIT_DEADLINE_S = 60.0
READ_ONLY = 'mount -t tmpfs tmpfs "$1" && cp -a "$0"/. "$1" && mount -o remount,ro "$1" && shift && exec "$@"'
"""In a shell of its own: what is in a folder, seen on a disk that cannot be written, by the command behind it."""


def build(folder: Path) -> Path:
    """The library that stands between SQLite and libc."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "these tests build tests/faults/disk.c and need a C compiler: on Debian, apt install gcc libc6-dev"
    library = folder / "disk.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl", "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return library


class FaultyServer(Server):
    """A server whose disk obeys `fail`, and that keeps a record of what it did to its files."""

    def __init__(self, library: Path, folder: Path, *changes: str, at: Path | None = None, **settings: str) -> None:
        """`at`: where its data is, if not below the folder of its rules and its record."""
        folder.mkdir(exist_ok=True)
        data = (at or folder) / "data"
        self.rules, self.record = folder / "rules", folder / "record"
        self.rules.write_text("")
        environment = {
            "LD_PRELOAD": str(library),
            "FAULTY_FILES": str(data / "towerlog"),
            "FAULTY_FOLDER": str(data),
            "FAULTY_RULES": str(self.rules),
            "FAULTY_RECORD": str(self.record),
            "FAULTY_CHANGES": ",".join(changes),
            "PYTHONPATH": str(CHANGES),
        }
        super().__init__(data, {**NO_LIMITS, **environment, **settings})

    def fail(self, *rules: str) -> None:
        """From now on these calls fail, see `disk.c`; without any, none does. Takes effect as a whole."""
        fresh = self.rules.with_suffix(".fresh")
        fresh.write_text("\n".join(rules))
        fresh.replace(self.rules)

    def moment(self) -> int:
        """Now, as a place in the record: all that was done before lies before it."""
        return self.record.stat().st_size

    def ended(self) -> int:
        """The exit code of the process, which must end by itself."""
        process = self._running()
        if not wait_for_exit(process, EXIT_DEADLINE_S):
            self.kill()
            raise AssertionError(f"the server went on\n{self.log}")
        self.process = None
        return int(process.returncode)


def is_refused(server: Server) -> bool:
    """Whether a further large event is not acknowledged: it is refused, or the process ends before it answers."""
    try:
        reply = ingest(server.client(), sdk_event("step", "new", {"text": "x" * 200_000}, agent_name="b"))
    except httpx2.RemoteProtocolError:
        return True
    return reply.status_code == 503


def on_read_only(source: Path, place: Path, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """A command that sees what is in `source` at `place`, where it cannot be written."""
    place.mkdir(exist_ok=True)
    inside = ["unshare", "--map-root-user", "--mount", "sh", "-c", READ_ONLY, source, place]
    line = list(map(str, [*inside, *command]))
    return subprocess.run(line, env=clean_environment({}), capture_output=True, text=True, check=False)


@dataclass
class Load:
    """Senders that go on until their server is gone or refuses; what was acknowledged, and when."""

    server: FaultyServer
    senders: int = 3
    event_bytes: int = 300
    is_noise: bool = False
    """Else what is sent packs well."""
    acked: dict[str, int] = field(default_factory=dict)
    """Event id → the moment of its acknowledgement."""
    refused: list[int] = field(default_factory=list)
    """Statuses of what was not taken."""

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(self.senders)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _send(self, number: int) -> None:
        client = self.server.client()
        while not self._stop.is_set():
            event_id = str(uuid.uuid4())
            text = os.urandom(self.event_bytes // 2).hex() if self.is_noise else "x" * self.event_bytes
            event = sdk_event("step", f"run-{number}", {"text": text}, event_id=event_id, agent_name="a")
            try:
                reply = ingest(client, event)
            except httpx2.TransportError:
                return
            if reply.status_code == 200:
                self.acked[event_id] = self.server.moment()
            else:
                self.refused.append(reply.status_code)


@dataclass(frozen=True)
class Done:
    """One call of the record."""

    kind: str
    failed: bool
    name: str
    at: int
    size: int
    data: bytes
    ends_at: int
    thread: int = 0


def calls(record: Path) -> list[Done]:
    """All calls, in their order; one that was being written down when the process ended is left out."""
    content, at, found = record.read_bytes(), 0, []
    while at + HEAD.size <= len(content):
        kind, failed, name_bytes, size, thread, offset = HEAD.unpack_from(content, at)
        name_at = at + HEAD.size
        data_at = name_at + name_bytes
        at = data_at + (size if chr(kind) in "wrl" else 0)
        if at > len(content):
            break
        name = content[name_at:data_at].decode()
        found.append(Done(chr(kind), bool(failed), name, offset, size, content[data_at:at], at, thread))
    return found


class Disk:
    """What is on the disk itself, and what the kernel has not written there yet."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}
        self.pending: dict[str, list[Done]] = {}
        self.named: set[str] = set()
        """Files whose names are on disk: a new one's is once the folder was synced."""

    def do(self, done: Done) -> None:
        """Takes a call. Of a sync that failed the pages count as written, and are not: they are gone."""
        if done.name == FOLDER and not done.failed:
            self.named |= self.files.keys()
        if done.name not in KEPT:
            return
        if done.kind == "u":
            self.files.pop(done.name, None)
            self.pending.pop(done.name, None)
            self.named.discard(done.name)
        elif done.kind == "s":
            if not done.failed:
                self.files.setdefault(done.name, bytearray())
                for one in self.pending.get(done.name, []):
                    _apply(self.files.setdefault(done.name, bytearray()), one)
            self.pending[done.name] = []
        elif not done.failed:
            self.files.setdefault(done.name, bytearray())
            self.pending.setdefault(done.name, []).append(done)

    def after_a_cut(self, folder: Path, rng: random.Random, how: str) -> Path:
        """The files as a power cut leaves them; the database. `_survivors` says how much of what waited is there."""
        folder.mkdir(parents=True)
        for name in self.named:
            image = bytearray(self.files[name])
            for one in _survivors(self.pending.get(name, []), rng, how):
                _apply(image, one)
            (folder / f"towerlog{name}").write_bytes(image)
        return folder / "towerlog.db"


def _survivors(pending: list[Done], rng: random.Random, how: str) -> Iterator[Done]:
    match how:
        case "none":
            return
        case "prefix":
            yield from pending[: rng.randint(0, len(pending))]
        case "some":
            yield from (one for one in pending if rng.random() < 0.5)
        case "torn":
            for one in pending:
                if one.kind != "w":
                    yield one
                    continue
                for at in range(0, len(one.data), SECTOR_BYTES):
                    if rng.random() < 0.7:
                        piece = one.data[at : at + SECTOR_BYTES]
                        yield Done("w", False, one.name, one.at + at, len(piece), piece, one.ends_at)
        case _:
            raise ValueError(how)


def _apply(image: bytearray, one: Done) -> None:
    if one.kind == "t":
        del image[one.at :]
        image.extend(bytes(one.at - len(image)))
        return
    if len(image) < one.at:
        image.extend(bytes(one.at - len(image)))
    image[one.at : one.at + len(one.data)] = one.data


def event_ids(path: Path) -> set[str]:
    """The ids of all events of a sound database. Raises StorageFailed for one that is not sound."""
    try:
        check_whole(path)  # as each start does
        with closing(apsw.Connection(str(path))) as db:
            said = [str(row[0]) for row in db.execute("PRAGMA integrity_check(3)")]
            if said != ["ok"]:
                raise StorageFailed("; ".join(said))
            return {str(row[0]) for row in db.execute("SELECT event_id FROM event WHERE event_id IS NOT NULL")}
    except (apsw.Error, StoreTorn) as error:
        raise StorageFailed(f"{type(error).__name__}: {error}") from error


def lost_in_a_cut(record: Path, acked: dict[str, int], at: int, folder: Path, rng: random.Random, how: str) -> int:
    """How many of the acknowledged events a power cut at this moment costs; all, when the database is not sound."""
    return lost_in_cuts(calls(record), acked, [at], folder, rng, (how,))


def lost_in_cuts(
    done: list[Done],
    acked: dict[str, int],
    moments: list[int],
    folder: Path,
    rng: random.Random,
    ways: tuple[str, ...] = ("none", "prefix", "some", "torn"),
) -> int:
    """As `lost_in_a_cut`, over cuts at all these moments, one way after the other."""
    disk, lost, next_call = Disk(), 0, 0
    for number, moment in enumerate(sorted(moments)):
        while next_call < len(done) and done[next_call].ends_at <= moment:
            disk.do(done[next_call])
            next_call += 1
        if DATABASE not in disk.files:
            continue
        image = folder / f"cut-{number}"
        path = disk.after_a_cut(image, rng, ways[number % len(ways)])
        promised = {event_id for event_id, told_at in acked.items() if told_at <= moment}
        try:
            lost += len(promised - (event_ids(path) if promised else set()))
        except StorageFailed:
            lost += len(promised)
        shutil.rmtree(image)
    return lost


Faulty = Callable[..., FaultyServer]
"""Starts a server on a disk that fails, with these changes of the program."""
