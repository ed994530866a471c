"""One real server for a test: a `towerlog serve` process over a data folder of its own.

Owns starting, waiting until ready, stopping, killing and the command line beside the running server.
It knows nothing of the dialects: what is sent and what must come back is said by the tests.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import httpx2
from click.testing import CliRunner, Result

from tests.support.launcher import Launched, launch, run
from tests.support.ports import HeldPort
from tests.support.postgres import cluster
from tests.support.wait import wait_until
from towerlog.cli import main

ADMIN_KEY = "adm_" + "0123456789abcdefghijklmnopqrstuvwxyzABCD"
"""The bootstrap admin key of every server started here: a fixed value, so that a failure can be replayed by hand."""

NO_LIMITS: Mapping[str, str] = {
    "TOWERLOG_STEPS_RATE_PER_MINUTE": "0",
    "TOWERLOG_LANES_RATE_PER_MINUTE": "0",
    "TOWERLOG_OTLP_RATE_PER_MINUTE": "0",
    "TOWERLOG_LANES_MIN_LEASE_SECONDS": "1",
}
"""Settings of a server that many tests share: nobody is throttled by what a neighbour sent."""

READ_BY_THE_INTERPRETER = ("PYTHON", "LD_")
"""How the names of variables begin that count only as an interpreter starts."""

READY_DEADLINE_S = 60.0
STOP_DEADLINE_S = 30.0
"""Three times what the server promises: a busy machine may be slow, a server that waits for its clients is slower."""
POLL_S = 0.02
CLI_DEADLINE_S = 120.0
STORE_VARIABLE = "TOWERLOG_TESTS_STORE"
"""`postgres`: servers of these tests have their stores in PostgreSQL; see `tests/acceptance/test_on_postgres.py`."""


def is_ready(client: httpx2.Client) -> bool:
    """True when the server answers `/readyz` with 200; a refused connection is only "not yet"."""
    try:
        return client.get("/readyz").status_code == 200
    except httpx2.TransportError:
        return False


class Server:
    """A server process and its data folder; the port is held over restarts, so that clients can be kept."""

    def __init__(self, data_dir: Path, env: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self._held = HeldPort()
        self.port = self._held.number
        self.base_url = self._held.url
        self.log_path = data_dir.parent / f"{data_dir.name}.log"
        self.process: subprocess.Popen[bytes] | Launched | None = None
        self._starts_interpreter = any(name.startswith(READ_BY_THE_INTERPRETER) for name in env or {})
        self._env = clean_environment({**_store_of(data_dir), **(env or {})})
        self._clients: list[httpx2.Client] = []

    def __enter__(self) -> Server:
        """Started; closed at the end."""
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, is_up: Callable[[httpx2.Client], bool] = is_ready) -> Server:
        """Start the process and wait until it is up, by default ready; fail with its log otherwise."""
        assert self.process is None, "the server is already running"
        arguments = ["serve", "--host", "127.0.0.1", "--port", str(self.port), "--data-dir", str(self.data_dir)]
        with self.log_path.open("ab") as log:
            if self._starts_interpreter:
                command = [executable(), *arguments]
                self.process = subprocess.Popen(
                    command, stdout=log, stderr=subprocess.STDOUT, env=self._env, start_new_session=True
                )
            else:
                self.process = launch(arguments, self._env, log.fileno())
        self._wait_until_up(self.process, is_up)
        return self

    def _wait_until_up(
        self, process: subprocess.Popen[bytes] | Launched, is_up: Callable[[httpx2.Client], bool]
    ) -> None:
        deadline = time.monotonic() + READY_DEADLINE_S
        with httpx2.Client(base_url=self.base_url, timeout=2.0, trust_env=False, verify=False) as client:
            while time.monotonic() < deadline:
                if process.poll() is not None:
                    raise AssertionError(f"the server ended with {process.returncode} before it was ready\n{self.log}")
                if is_up(client):
                    return
                wait_for_exit(process, POLL_S)
        self.kill()
        raise AssertionError(f"the server was not ready after {READY_DEADLINE_S} s\n{self.log}")

    def stop(self) -> None:
        """End it as a supervisor would (SIGTERM) and insist on a clean exit."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        if not wait_for_exit(process, STOP_DEADLINE_S):
            self.kill()
            raise AssertionError(f"the server did not end within {STOP_DEADLINE_S} s of SIGTERM\n{self.log}")
        self.process = None
        assert process.returncode == 0, f"the server ended with {process.returncode} on SIGTERM\n{self.log}"

    def kill(self) -> None:
        """End it as a crash would (SIGKILL): nothing of it gets to run again."""
        process = self._running()
        process.kill()
        process.wait()
        self.process = None

    def restart(self) -> Server:
        """Stop it cleanly and start it again over the same data."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """Give everything back, whatever state a test left it in."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        if self.process is not None:
            self.kill()
        self._held.close()

    def client(self, key: str | None = ADMIN_KEY, **options: Any) -> httpx2.Client:
        """An HTTP client of this server that authenticates with `key` (None: with nothing); closed with the server."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        # verify=False: the transport is plain HTTP, and reading the trust store would cost more than most tests.
        defaults: dict[str, Any] = {"timeout": 30.0, "trust_env": False, "verify": False}
        client = httpx2.Client(base_url=self.base_url, headers=headers, **{**defaults, **options})
        self._clients.append(client)
        return client

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `towerlog ARGUMENTS` on this server's data folder, beside the server if it runs."""
        command = [*arguments, "--data-dir", str(self.data_dir)]
        if not self._starts_interpreter:
            return run(command, self._env, CLI_DEADLINE_S)
        command = [executable(), *command]
        return subprocess.run(
            command, env=self._env, capture_output=True, text=True, timeout=CLI_DEADLINE_S, check=False
        )

    def cli_json(self, *arguments: str) -> dict[str, Any]:
        """What a command that must succeed prints with `--json`; run inside this process, which saves its start."""
        done = self.cli_inside(*arguments, "--json")
        assert done.returncode == 0, f"towerlog {' '.join(arguments)} ended with {done.returncode}\n{done.stderr}"
        printed: dict[str, Any] = json.loads(done.stdout)
        return printed

    def cli_inside(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Like `cli`, run inside this process: without the start of another one."""
        return run_inside(*arguments, "--data-dir", str(self.data_dir), env=self._env)

    def create_key(self, *scopes: str, org: str | None = None) -> dict[str, Any]:
        """Make a key with exactly these scopes: `{"key_id", "key", …}`."""
        chosen = [] if org is None else ["--org", org]
        return self.cli_json("keys", "create", "--name", "test", "--scopes", ",".join(scopes), *chosen)

    def make_key(self, *scopes: str, org: str | None = None) -> str:
        """The text of a new key with exactly these scopes."""
        return str(self.create_key(*scopes, org=org)["key"])

    def make_org(self, name: str) -> tuple[str, str]:
        """A new organisation: its id and its admin key."""
        made = self.cli_json("orgs", "create", name)
        return str(made["org_id"]), str(made["key"])

    def stored(self, statement: str) -> list[tuple[Any, ...]]:
        """What the database answers to a statement, past the server; of what both databases have alike."""
        if (database := self._database()) is not None:
            return [tuple(map(_told, row)) for row in cluster().sql(statement, database)]
        with closing(apsw.Connection(str(database_of(self.data_dir)))) as db:
            return list(db.execute(statement))

    def forge(self, statement: str, *shared: str) -> None:
        """Changes something in the database of a stopped server; `shared`: what does the same in PostgreSQL, if other.

        Fails where nothing was changed: then nothing could be found.
        """
        if (database := self._database()) is not None:
            changed = [cluster().changed(one, database) for one in shared or (statement,)]
            assert any(changed), shared or statement
            return
        with closing(apsw.Connection(str(database_of(self.data_dir)))) as db:
            db.execute(statement)
            assert db.changes() > 0, statement

    def places_of(self, word: str) -> list[str]:
        """Where something is stored that has this word in it: files of the data folder, columns of the database."""
        files = [path for path in self.data_dir.rglob("*") if path.is_file()]
        found = [path.name for path in files if word.encode() in path.read_bytes()]
        if (database := self._database()) is not None:
            columns = cluster().sql(
                "SELECT table_name, column_name, data_type FROM information_schema.columns"
                " WHERE table_schema = 'public' AND data_type IN ('text', 'bytea')",
                database,
            )
            for table, column, kind in columns:
                value = f"convert_to({column}, 'UTF8')" if kind == "text" else column
                sql = f"SELECT count(*) FROM {table} WHERE position('\\x{word.encode().hex()}'::bytea IN {value}) > 0"
                if cluster().sql(sql, database) != [["0"]]:
                    found.append(f"{table}.{column}")
        return found

    def is_shared(self) -> bool:
        """Whether its store is in PostgreSQL."""
        return self._database() is not None

    def _database(self) -> str | None:
        url = self._env.get("TOWERLOG_DATABASE_URL", "")
        return url.partition("@/")[2].partition("?")[0] or None

    def resident_bytes(self, field: str = "VmRSS") -> int:
        """What the process holds in memory now; `VmHWM`: the most that it has held."""
        with open(f"/proc/{self._running().pid}/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))

    def limit(self, kind: int, count: int) -> None:
        """Sets the soft limit of the process for a `resource.RLIMIT_…`."""
        pid = self._running().pid
        resource.prlimit(pid, kind, (count, resource.prlimit(pid, kind)[1]))

    def says(self, words: str) -> str:
        """All that the process has printed, once these words are in it.

        Lines of its log are written by a thread of their own, perhaps after the reply to what they tell of.
        """
        wait_until(lambda: words in self.log, f"{words!r} in the log of the server")
        return self.log

    @property
    def log(self) -> str:
        """All that the process has printed so far: what it did last may be missing (see `says`)."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def _running(self) -> subprocess.Popen[bytes] | Launched:
        assert self.process is not None, "the server is not running"
        return self.process


def run_inside(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`towerlog ARGUMENTS` in this process, with the settings of `env` alone, as if it had been one of its own."""
    unset = {name: None for name in os.environ if name.startswith("TOWERLOG_")}
    ours = {name: value for name, value in env.items() if name.startswith("TOWERLOG_")}
    done: Result = CliRunner().invoke(main, arguments, env={**unset, **ours}, prog_name="towerlog")
    told = done.stderr
    if done.exc_info is not None and not isinstance(done.exception, SystemExit):
        told += "".join(traceback.format_exception(*done.exc_info))
    return subprocess.CompletedProcess(["towerlog", *arguments], done.exit_code, done.stdout, told)


def database_of(data_dir: Path) -> Path:
    """The one SQLite file in a data folder, beside those that a rebuild has moved away."""
    files = [path for path in data_dir.rglob("*") if path.is_file() and ".before-" not in path.name]
    found = [path for path in files if path.read_bytes()[:15] == b"SQLite format 3"]
    assert len(found) == 1, found
    return found[0]


def copy_store(source: Path, target: Path) -> None:
    """A second data folder with the same store. Nobody may have that open."""
    shutil.copytree(source, target)
    if os.environ.get(STORE_VARIABLE) == "postgres":
        cluster().create(_name_of(target), _name_of(source))


def _told(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdecimal() else text


@functools.cache
def _name_of(data_dir: Path) -> str:
    """The database of this data folder, in PostgreSQL."""
    return cluster().lasting_name()


def _store_of(data_dir: Path) -> Mapping[str, str]:
    """The setting of the store of this data folder: none, or a database of its own in PostgreSQL."""
    if os.environ.get(STORE_VARIABLE) != "postgres":
        return {}
    name = _name_of(data_dir)
    if not cluster().has(name):
        cluster().create(name)
    return {"TOWERLOG_DATABASE_URL": cluster().url(name)}


def executable() -> str:
    """The `towerlog` command beside the interpreter that runs the tests."""
    return str(Path(sys.executable).with_name("towerlog"))


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without any of our settings, then the fixed admin key and `extra`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TOWERLOG_")}
    return {**inherited, "TOWERLOG_BOOTSTRAP_KEY": ADMIN_KEY, "TOWERLOG_DISK_GUARD_MIB": "16", **extra}


def wait_for_exit(process: subprocess.Popen[bytes] | Launched, deadline_s: float) -> bool:
    """Wait at most `deadline_s` for the process to end; say whether it has."""
    try:
        process.wait(deadline_s)
    except subprocess.TimeoutExpired:
        return False
    return True
