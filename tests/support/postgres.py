"""A PostgreSQL of this test process's own: started at its first use by an unprivileged user, gone with the process.

Its files lie in memory where the machine has a file system for that, so that a sync costs nothing and is still asked
for. It listens on a socket in its own folder alone.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections import deque
from pathlib import Path

from tests.support.wait import wait_until

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "log_min_messages": "warning",
    "max_wal_size": "512MB",
}
KEPT = 6
"""Databases of earlier tests that are still there: a test may use a few at a time."""
STRATEGY_SINCE = 15
"""The first version that has two ways to copy a database; before, there was this one alone."""
_SIGNAL_WITH_PARENT = 1
PLACES = ("/usr/lib/postgresql", "/usr/local/pgsql", "/usr/pgsql")


def binaries() -> Path:
    """The folder of PostgreSQL's programs. Fails with the name of the package where there is none."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    found = sorted(path.parent for place in PLACES for path in Path(place).glob("*/bin/initdb"))
    assert found, "these tests need a PostgreSQL: install the Debian package `postgresql`"
    return found[-1]


def _end_with_parent() -> None:
    """The server ends at once when the process that has started it does, whatever ends that."""
    ctypes.CDLL(None).prctl(_SIGNAL_WITH_PARENT, signal.SIGQUIT)


class Cluster:
    """A server with its data. `url` of a database is what `open_store` takes."""

    def __init__(self) -> None:
        """Made and started."""
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="towerlog-pg-", dir=memory if os.access(memory, os.W_OK) else None))
        # PostgreSQL does not run as root.
        self.user = "nobody" if os.geteuid() == 0 else None
        if self.user is not None:
            os.chown(self.folder, pwd.getpwnam(self.user).pw_uid, -1)
        self._numbers = itertools.count(1)
        self._given: deque[str] = deque()
        self._old: list[str] = []
        self._made: set[str] = set()
        self._bin = binaries()
        self.data = self.folder / "data"
        self.run(
            "initdb", "-D", str(self.data), "-U", "towerlog", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"
        )
        self.process = self.start()
        atexit.register(self.close)

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the server and waits until it answers."""
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._bin / "postgres"), "-D", str(self.data), "-k", str(self.folder), *settings]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, user=self.user, preexec_fn=_end_with_parent, cwd=self.folder
            )
        wait_until(self.answers, "an answer of PostgreSQL")
        return self.process

    def answers(self) -> bool:
        """Whether it takes connections."""
        assert self.process.poll() is None, (self.folder / "log").read_text()
        command = [str(self._bin / "pg_isready"), "-h", str(self.folder), "-q"]
        return subprocess.run(command, check=False).returncode == 0

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Ends the server: SIGQUIT at once, SIGINT in order."""
        self.process.send_signal(how)
        self.process.wait()

    def close(self) -> None:
        """Ends it and removes its files."""
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, text: str, database: str = "postgres") -> list[list[str]]:
        """The rows of a statement, as text."""
        return self._rows(database, text)

    def _rows(self, database: str, *texts: str) -> list[list[str]]:
        command = [str(self._bin / "psql"), "-h", str(self.folder), "-U", "towerlog", "-d", database]
        command += ["-XAtq", "-v", "ON_ERROR_STOP=1", "-F", "\t"]
        for text in texts:
            command += ["-c", text]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    def changed(self, statement: str, database: str) -> bool:
        """Whether a statement has touched any row."""
        command = [str(self._bin / "psql"), "-h", str(self.folder), "-U", "towerlog", "-d", database]
        done = subprocess.run(
            [*command, "-X", "-v", "ON_ERROR_STOP=1", "-c", statement], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return not done.stdout.rstrip().endswith(" 0")

    def url(self, database: str) -> str:
        """By which a database is opened."""
        return f"postgresql://towerlog@/{database}?host={self.folder}"

    def fresh_name(self) -> str:
        """A name for a database of a test's own; of the databases of earlier tests the oldest go with the next one."""
        while len(self._given) >= KEPT:
            if self.has(name := self._given.popleft()):
                self._old.append(name)
                self._made.remove(name)
        name = f"test{next(self._numbers)}"
        self._given.append(name)
        return name

    def lasting_name(self) -> str:
        """A name for a database that stays as long as the server."""
        return f"kept{next(self._numbers)}"

    def create(self, name: str, template: str = "template0") -> None:
        """Makes a database of the template's files: through the log of writes it would take three times as long."""
        version = int((self.data / "PG_VERSION").read_text())
        how = "STRATEGY file_copy" if version >= STRATEGY_SINCE else ""
        old = [f"DROP DATABASE IF EXISTS {one} WITH (FORCE)" for one in self._old]
        self._old.clear()
        self._rows("postgres", *old, f"CREATE DATABASE {name} TEMPLATE {template} {how}")
        self._made.add(name)

    def has(self, name: str) -> bool:
        """Whether such a database was made."""
        return name in self._made

    def run(self, program: str, *arguments: str) -> None:
        """Runs one of PostgreSQL's programs to its end."""
        done = subprocess.run(
            [str(self._bin / program), *arguments], capture_output=True, text=True, check=False, user=self.user,
            cwd=self.folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@functools.cache
def cluster() -> Cluster:
    """The one of this process."""
    return Cluster()
