"""Starts `towerlog COMMAND` as processes of their own, without the second that an interpreter needs for its imports.

A process of the tests has one launcher beside it: an interpreter that has imported all that `towerlog serve` needs,
has one thread and no connection, and forks for each start. What is forked runs the program's own entry with the
arguments, the environment, the folder and the files that it was given, in a session of its own, and ends as an
interpreter does. What an interpreter or a loader reads only as it starts (`PYTHONPATH`, `LD_PRELOAD`) comes too late
for it: whoever sets such a thing starts the program itself.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_REQUEST_BYTES = 1 << 17
"""Arguments and environment of one start; a message is sent and taken as a whole."""


class Launched:
    """A started process, with those of `subprocess.Popen`'s methods that tests need."""

    def __init__(self, told: socket.socket) -> None:
        """`told`: says the process's number, and once it has ended its exit code."""
        self._told = told
        self.returncode: int | None = None
        self.pid = self._next_number()

    def _next_number(self) -> int:
        number = self._told.recv(64)
        assert number, "the launcher is gone"
        return int(number)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, or the number of the signal with a minus; raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            self._told.settimeout(timeout)
            try:
                self.returncode = self._next_number()
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0) from None
            self._told.close()
        return self.returncode

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        try:
            return self.wait(0.0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        """Nothing, if it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Nothing of it gets to run again."""
        self.send_signal(signal.SIGKILL)


def launch(arguments: Sequence[str], env: Mapping[str, str], output: int, given: int | None = None) -> Launched:
    """Starts `towerlog ARGUMENTS` with this environment alone.

    `output`: the descriptor that all it prints goes to. `given`: the one that it reads; without it there is nothing to
    be read.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    request = json.dumps([list(arguments), dict(env), os.getcwd()]).encode()
    assert len(request) < MAX_REQUEST_BYTES, "too much for one message"
    with theirs:
        descriptors = [theirs.fileno(), output, *([] if given is None else [given])]
        socket.send_fds(_launcher(), [request], descriptors)
    return Launched(ours)


@functools.cache
def _launcher() -> socket.socket:
    """How this process speaks to its launcher, which is started by the first call and ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.launcher", str(theirs.fileno())],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


class _Children:
    """What the launcher has started and not yet reported as ended."""

    def __init__(self, asked: socket.socket) -> None:
        self._asked = asked
        self._watched = selectors.DefaultSelector()
        self._watched.register(asked, selectors.EVENT_READ)
        self._running: dict[int, tuple[int, socket.socket]] = {}

    def next_start(self) -> list[str] | None:
        """In a new process: its arguments. In the launcher: None, once nobody can ask any more."""
        while True:
            for key, _ in self._watched.select():
                if key.fileobj is not self._asked:
                    self._report_end(int(key.fd))
                    continue
                request, descriptors, _, _ = socket.recv_fds(self._asked, MAX_REQUEST_BYTES, 3)
                if not request:
                    self._end_all()
                    return None
                if (arguments := self._start(request, *descriptors)) is not None:
                    return arguments

    def _start(self, request: bytes, telling: int, *files: int) -> list[str] | None:
        pid = os.fork()
        told = socket.socket(fileno=telling)
        if pid == 0:
            told.close()
            return self._become(request, *files)
        for file in files:
            os.close(file)
        told.send(str(pid).encode())
        watching = os.pidfd_open(pid)
        self._watched.register(watching, selectors.EVENT_READ)
        self._running[watching] = (pid, told)
        return None

    def _become(self, request: bytes, output: int, given: int | None = None) -> list[str]:
        """Nothing of the launcher's is left but what it has imported."""
        arguments, env, folder = json.loads(request)
        self._watched.close()
        self._asked.close()
        for watching, (_, told) in self._running.items():
            os.close(watching)
            told.close()
        os.setsid()
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(env)
        for file, places in ((given, (0,)), (output, (1, 2))):
            if file is not None:
                for place in places:
                    os.dup2(file, place)
                os.close(file)
        return list(arguments)

    def _report_end(self, watching: int) -> None:
        self._watched.unregister(watching)
        pid, told = self._running.pop(watching)
        os.close(watching)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(BrokenPipeError):  # whoever started it has not waited for it
            told.send(str(code).encode())
        told.close()

    def _end_all(self) -> None:
        """Whoever has started them is gone."""
        for pid, _ in self._running.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def main() -> None:
    """The launcher; in what it has forked, the program."""
    for name in ("towerlog.cli.main", "towerlog.cli.serve", "towerlog.cli.tables", "towerlog.sdk.api.client"):
        importlib.import_module(name)
    arguments = _Children(socket.socket(fileno=int(sys.argv[1]))).next_start()
    if arguments is not None:
        sys.argv = ["towerlog", *arguments]
        importlib.import_module("towerlog.__main__").main()


if __name__ == "__main__":
    main()
