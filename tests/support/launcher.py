"""Starts `towerlog COMMAND`, and Python code, as processes without the second that an interpreter needs for imports.

A process of the tests has one launcher beside it: an interpreter that has imported all that `towerlog serve` needs,
has one thread and no connection, and forks for each start. What is forked runs the program's own entry with the
arguments, the environment, the folder and the files that it was given, in a session of its own, and ends as an
interpreter does. What an interpreter or a loader reads only as it starts (`PYTHONPATH`, `LD_PRELOAD`) comes too late
for it: whoever sets such a thing starts the program itself.

`put_on_path` makes the programs commands of a shell.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from towerlog.asgi.pages.dashboard import screens
from towerlog.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]
MAX_REQUEST_BYTES = 1 << 17
"""Arguments and environment of one start; a message is sent and taken as a whole."""
COMMANDS_OF_SHELLS = {"towerlog": ("towerlog.__main__", "main"), "curl": ("tests.support.curl", "program")}
PROGRAMS = {**COMMANDS_OF_SHELLS, "python": ("tests.support.script", "program")}
"""What can be started: the module and its function, which reads `sys.argv`."""
IMPORTED_BY_SERVERS = (
    "encodings.idna",
    "towerlog.engine.pricing.price_list",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.http.httptools_impl",
)
"""What a server imports only as it runs: 0.25 s of processor time of each of the many that tests start."""
RELAY = Path(__file__).with_name("relay.py")


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
    return _launch("towerlog", arguments, env, [output, output, *([] if given is None else [given])])


def launch_python(code: str, arguments: Sequence[str], env: Mapping[str, str], output: int, errors: int) -> Launched:
    """Starts `python -c CODE ARGUMENTS` with this environment alone.

    `output`, `errors`: the descriptors of what it prints and of what it complains of.
    """
    return _launch("python", [code, *arguments], env, [output, errors])


def run(
    arguments: Sequence[str], env: Mapping[str, str], timeout_s: float, program: str = "towerlog"
) -> subprocess.CompletedProcess[str]:
    """Runs `PROGRAM ARGUMENTS` to its end; raises `subprocess.TimeoutExpired`. `program`: one of `PROGRAMS`."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = _launch(program, arguments, env, [output.fileno(), errors.fileno()])
        try:
            code = started.wait(timeout_s)
        finally:
            started.kill()
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess([program, *arguments], code, output.read(), errors.read())


def _launch(program: str, arguments: Sequence[str], env: Mapping[str, str], files: Sequence[int]) -> Launched:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    request = json.dumps([program, list(arguments), dict(env), os.getcwd()]).encode()
    assert len(request) < MAX_REQUEST_BYTES, "too much for one message"
    with theirs:
        socket.send_fds(launcher()[0], [request], [theirs.fileno(), *files])
    return Launched(ours)


def put_on_path(folder: Path) -> None:
    """The commands of shells as executables in this folder, for shells that this process starts."""
    for name in COMMANDS_OF_SHELLS:
        file = folder / name
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{RELAY}" "{launcher()[1]}" {name} "$@"\n')
        file.chmod(0o755)


@functools.cache
def launcher() -> tuple[socket.socket, str]:
    """How this process speaks to its launcher, and the path at which its children may.

    It is started by the first call. What is forked from this process later has the same one; it ends with the last.
    """
    return start_beside("tests.support.launcher")


def start_beside(module: str) -> tuple[socket.socket, str]:
    """Starts an interpreter that runs this module and forks on demand; how to speak to it, and the path for others.

    It ends with this process, and with all that was forked from it.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    folder = tempfile.TemporaryDirectory(prefix="launcher")
    door = os.path.join(folder.name, "door")
    with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(door)
        listening.listen()
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(theirs.fileno()), str(listening.fileno())],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno(), listening.fileno()],
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        process.wait()
        folder.cleanup()

    atexit.register(end)
    return ours, door


class Children:
    """What the launcher has started and not yet reported as ended."""

    def __init__(self, asked: socket.socket, door: socket.socket) -> None:
        """`asked`: whoever started the launcher asks there. `door`: others connect there, each for one start."""
        self._asked = asked
        self._door = door
        self._watched = selectors.DefaultSelector()
        self._watched.register(asked, selectors.EVENT_READ)
        self._watched.register(door, selectors.EVENT_READ)
        self._running: dict[int, tuple[int, socket.socket]] = {}

    def next_start(self) -> list[str] | None:
        """In a new process: its program and arguments. In the launcher: None, once nobody can ask any more."""
        while True:
            for key, _ in self._watched.select():
                if key.fileobj is self._asked:
                    request, descriptors, _, _ = socket.recv_fds(self._asked, MAX_REQUEST_BYTES, 4)
                    if not request:
                        self._end_all()
                        return None
                elif key.fileobj is self._door:
                    with self._door.accept()[0] as asking:
                        request, descriptors, _, _ = socket.recv_fds(asking, MAX_REQUEST_BYTES, 4)
                else:
                    self._report_end(int(key.fd))
                    continue
                if (started := self._start(request, *descriptors)) is not None:
                    return started

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

    def _become(self, request: bytes, output: int, errors: int, given: int | None = None) -> list[str]:
        """Nothing of the launcher's is left but what it has imported."""
        program, arguments, env, folder = json.loads(request)
        self._watched.close()
        self._asked.close()
        self._door.close()
        for watching, (_, told) in self._running.items():
            os.close(watching)
            told.close()
        os.setsid()
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(env)
        for file, place in ((given, 0), (output, 1), (errors, 2)):
            if file is not None:
                os.dup2(file, place)
                os.close(file)
        return [program, *arguments]

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


def next_start() -> list[str] | None:
    """Forks for whoever asks at the two sockets that this interpreter was given; see `Children.next_start`."""
    return Children(*(socket.socket(fileno=int(number)) for number in sys.argv[1:3])).next_start()


def read_dashboard_once() -> None:
    """Reads the hundreds of built files now, for all that is forked."""
    packaged = functools.cache(screens._packaged)
    packaged()
    screens._packaged = packaged


def main() -> None:
    """The launcher; in what it has forked, the program."""
    for module, _ in PROGRAMS.values():
        importlib.import_module(module)
    for name in ("main", *(command.module for command in COMMANDS.values())):
        importlib.import_module(f"towerlog.cli.{name}")
    for name in IMPORTED_BY_SERVERS:
        importlib.import_module(name)
    read_dashboard_once()
    gc.freeze()
    started = next_start()
    if started is not None:
        sys.argv = started
        module, function = PROGRAMS[started[0]]
        run_to_its_end(getattr(importlib.import_module(module), function))


def run_to_its_end(program: Callable[[], None]) -> None:
    """Ends the process as an interpreter does, but for the taking apart of all that was imported: 0.3 s each time."""
    code = 0

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)

    # What is registered first is called last: threads and whatever the program has registered have ended by then.
    atexit.register(leave)
    try:
        program()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        raise
    except KeyboardInterrupt:
        # It is to be seen that a signal was the end.
        atexit.unregister(leave)
        raise
    except BaseException:
        code = 1
        raise


if __name__ == "__main__":
    main()
