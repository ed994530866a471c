"""A PostgreSQL for the bench: owns starting it on the bench's own disk as an unprivileged user, and ending it by pid.

Its settings are those of a small production server; a sync is a real one. Each round gets a database of its own.
"""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench import servers
from bench.servers import Server, ServerFailed

SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "max_connections": "60",
    "log_min_messages": "warning",
}
PLACES = ("/usr/lib/postgresql", "/usr/pgsql", "/usr/local/pgsql")
READY_DEADLINE_SECONDS = 30.0


def programs() -> Path:
    """The folder of PostgreSQL's programs."""
    found = sorted(path.parent for place in PLACES for path in Path(place).glob("*/bin/initdb"))
    if not found:
        raise ServerFailed("no PostgreSQL is installed; on Debian: apt-get install postgresql")
    return found[-1]


class Database:
    """A running PostgreSQL; its databases are numbered."""

    def __init__(self, folder: Path, user: str | None) -> None:
        self.folder = folder
        self.user = user
        self._numbers = itertools.count(1)

    def run(self, program: str, *arguments: str) -> str:
        """One of its programs, to its end; what it printed."""
        command = [str(programs() / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, user=self.user, cwd=self.folder, check=False)
        if done.returncode:
            raise ServerFailed(f"{program}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def fresh(self) -> str:
        """The URL of a new empty database."""
        name = f"round{next(self._numbers)}"
        self.run("createdb", "-h", str(self.folder), "-U", "towerlog", name)
        return f"postgresql://towerlog@/{name}?host={self.folder}"

    def size(self, url: str) -> int:
        """The bytes of a database, with its indexes."""
        return int(self.run("psql", "-At", "-c", "SELECT pg_database_size(current_database())", url))

    def towerlog(self, data_dir: Path) -> AbstractContextManager[Server]:
        """A running `towerlog serve` on a database of its own."""
        return servers.towerlog(data_dir, "--database-url", self.fresh())

    def floor(self, data_dir: Path) -> AbstractContextManager[Server]:
        """The floor on a database of its own."""
        program = [sys.executable, "-m", "bench.floor_postgres", self.fresh()]
        return servers.running("floor", lambda port: [*program, str(port)], data_dir)


@contextmanager
def postgres(folder: Path) -> Iterator[Database]:
    """A PostgreSQL with its data below this folder; ended and forgotten in the end."""
    user = "nobody" if os.geteuid() == 0 else None
    if user is not None:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        folder.chmod(0o755)
        folder.parent.chmod(0o755)
    database = Database(folder, user)
    database.run("initdb", "-D", str(folder / "data"), "-U", "towerlog", "-A", "trust", "-E", "UTF8", "--locale=C")
    settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    command = [str(programs() / "postgres"), "-D", str(folder / "data"), "-k", str(folder), *settings]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, user=user, cwd=folder)
    try:
        deadline = time.monotonic() + READY_DEADLINE_SECONDS
        while True:
            try:
                database.run("pg_isready", "-h", str(folder), "-q")
                break
            except ServerFailed:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ServerFailed(f"PostgreSQL did not start:\n{(folder / 'log').read_text()}") from None
                time.sleep(servers.READY_POLL_SECONDS)
        yield database
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        shutil.rmtree(folder / "data", ignore_errors=True)
