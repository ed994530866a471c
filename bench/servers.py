"""The servers under measurement: owns starting towerlog and the floor as real processes, and ending them by pid."""

import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.compiled import BENCH_DIR, HOST

READY_DEADLINE_SECONDS = 60.0
READY_POLL_SECONDS = 0.002
STOP_DEADLINE_SECONDS = 20.0
# The limits that guard a public server are switched off; nothing else is set that a user would not have.
BENCH_SETTINGS = {
    "TOWERLOG_STEPS_RATE_PER_MINUTE": "0",
    "TOWERLOG_LANES_RATE_PER_MINUTE": "0",
    "TOWERLOG_OTLP_RATE_PER_MINUTE": "0",
    # No key may have more than half of all connections, and the bench has one key.
    "TOWERLOG_MAX_STREAMS": "24000",
    "TOWERLOG_MAX_STREAMS_PER_KEY": "12000",
    "TOWERLOG_MAX_STREAMS_PER_ORG": "12000",
    "TOWERLOG_MAX_CONNECTIONS_PER_ADDRESS": "12000",
}


class ServerFailed(RuntimeError):
    """A server did not start, or did not end when asked."""


@contextmanager
def held_port() -> Iterator[int]:
    """A loopback port that stays bound here, so that nobody else gets it before the server listens on it."""
    with socket.socket() as held:
        # Linux lets two sockets have one address when both say so and only one listens; servers do.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((HOST, 0))
        yield int(held.getsockname()[1])


def towerlog_program() -> Path:
    """The `towerlog` command of the environment this bench runs in."""
    return Path(sys.executable).parent / "towerlog"


@dataclass
class Server:
    """One running server process."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    key: str
    data_dir: Path
    log_path: Path
    ready_seconds: float = 0.0

    def resident_kib(self) -> int:
        """Resident memory now (VmRSS), in KiB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise ServerFailed(f"{self.name} is gone")

    def cpu_seconds(self) -> float:
        """Processor time used so far, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def log_tail(self, lines: int = 15) -> str:
        """The last lines that the server wrote."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> float:
        """End the process in the orderly way; the seconds that took. Killed, and an error, when it does not end."""
        if self.process.poll() is not None:
            raise ServerFailed(f"{self.name} ended by itself ({self.process.returncode}):\n{self.log_tail()}")
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"{self.name} did not end in {STOP_DEADLINE_SECONDS:.0f} s after SIGTERM") from None
        return time.monotonic() - started

    def kill(self) -> None:
        """End the process now, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_DEADLINE_SECONDS)


def bytes_in(folder: Path) -> int:
    """The bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def answers_ready(port: int) -> bool:
    """True when /readyz answers 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def accepts(port: int) -> bool:
    """True when somebody listens on the port; the floor has no readiness page and listens only when it is ready."""
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex((HOST, port)) == 0


def clean_environment() -> dict[str, str]:
    """The environment of this process without any Towerlog setting of the user's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TOWERLOG_")}


def start(command: list[str], environment: dict[str, str], log: int) -> subprocess.Popen[bytes]:
    """Start a program that reads nothing; `log`: the descriptor of the file for all that it prints."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)


def launch(name: str, command: list[str], port: int, key: str, data_dir: Path) -> Server:
    """Start a server process and wait until it is ready."""
    data_dir.mkdir(parents=True, exist_ok=True)
    log_path = data_dir.parent / f"{data_dir.name}.log"
    environment = {**clean_environment(), **BENCH_SETTINGS, "TOWERLOG_BOOTSTRAP_KEY": key}
    is_ready = answers_ready if name == "towerlog" else accepts
    with log_path.open("ab") as log:
        started = time.monotonic()
        process = start(command, environment, log.fileno())
    server = Server(name, process, port, key, data_dir, log_path)
    try:
        while not is_ready(port):
            if process.poll() is not None:
                raise ServerFailed(f"{name} ended at start ({process.returncode}):\n{server.log_tail()}")
            if time.monotonic() - started > READY_DEADLINE_SECONDS:
                raise ServerFailed(f"{name} was not ready in {READY_DEADLINE_SECONDS:.0f} s:\n{server.log_tail()}")
            time.sleep(READY_POLL_SECONDS)
    except BaseException:
        server.kill()
        raise
    server.ready_seconds = time.monotonic() - started
    return server


# One key for the whole run, so that a store that is opened again still knows it.
BENCH_KEY = "bench-" + secrets.token_hex(24)


@contextmanager
def running(name: str, command: Callable[[int], list[str]], data_dir: Path) -> Iterator[Server]:
    """A running server, of the command for its port; killed at the end unless it was stopped."""
    with held_port() as port:
        server = launch(name, command(port), port, BENCH_KEY, data_dir)
        try:
            yield server
        finally:
            server.kill()


def towerlog(data_dir: Path, *options: str) -> AbstractContextManager[Server]:
    """A running `towerlog serve` on this data folder, with these options beside."""
    serve = [str(towerlog_program()), "serve", "--host", HOST, "--data-dir", str(data_dir), *options]
    return running("towerlog", lambda port: [*serve, "--port", str(port)], data_dir)


def floor(data_dir: Path) -> AbstractContextManager[Server]:
    """A running floor on this data folder."""
    program = [sys.executable, str(BENCH_DIR / "floor.py"), str(data_dir)]
    return running("floor", lambda port: [*program, str(port)], data_dir)
