"""Runs a command and copies its output unchanged, counting the bytes.

Standard input is inherited. If an output is a terminal, the command gets a pseudo-terminal of the same size, otherwise
a pipe. If standard output and standard error are the same file, one channel carries both, so that their order is kept;
their bytes are then counted together. Signals sent to this process are passed on; signals of the keyboard reach the
command directly.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import termios
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

CHUNK_BYTES = 65_536
QUIET_OUTPUT_S = 0.05
"""How long output of a command that has ended may be quiet before it counts as finished: a process that it left in the
background may hold the channel open for ever."""
TRAILING_OUTPUT_S = 2.0
"""How long such output is copied at most when it does not become quiet; and output whose reader stands still, of a
command that was told to end."""
TOLD_TO_END = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})
FORWARDED = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2})
_WATCHED = FORWARDED | {signal.SIGCHLD, signal.SIGWINCH}
_FROM_THE_KERNEL = 0x80
"""`si_code` of a signal from the keyboard: the whole foreground process group has received it."""
CANNOT_RUN, NOT_FOUND = 126, 127
NOT_WRITTEN = 1
"""Exit code of a command that ended well, but whose output could not be written."""
EMPTY = '""'
"""How a command without a name is told of."""
_STDOUT, _STDERR = 1, 2
_NAMES = {_STDOUT: "standard output", _STDERR: "standard error"}
_NO_READER = frozenset({errno.EPIPE, errno.EIO, errno.EBADF})
"""Errors of an output that nobody reads: a pipe's, a terminal's that has hung up, that of one which was closed."""


@dataclass(frozen=True)
class Finished:
    """How a command ended. `exit_code` is 128 + the signal's number if a signal ended it."""

    exit_code: int
    signal: str | None
    duration_ms: int
    stdout_bytes: int
    stderr_bytes: int | None
    """None if one channel carried both: all bytes are in `stdout_bytes`."""
    error: str | None = None
    """Why it could not be started, or its output not be written."""


class OutputCopy:
    """Copies one output of the command as it comes."""

    def __init__(self, target: int) -> None:
        """Opens a pipe, or a pseudo-terminal if the target is a terminal."""
        self.count = 0
        self.error: str | None = None
        """Why the output could not be written, unless it has no reader."""
        self._target = target
        self._is_terminal = os.isatty(target)
        self._source, self.inlet = os.openpty() if self._is_terminal else os.pipe()
        self._over_at: float | None = None
        self._thread = threading.Thread(target=self._copy, name="towerlog-output", daemon=True)
        if self._is_terminal:
            _leave_bytes_alone(self.inlet)
            self.resize()

    def resize(self) -> None:
        """Sets the pseudo-terminal to the size of the real one."""
        if self._is_terminal:
            with contextlib.suppress(OSError):
                size = fcntl.ioctl(self._target, termios.TIOCGWINSZ, bytes(8))
                fcntl.ioctl(self.inlet, termios.TIOCSWINSZ, size)

    def begin(self) -> None:
        """Starts copying. Closes our end of a pipe, so that the command's end of output is seen."""
        if not self._is_terminal:
            os.close(self.inlet)
        self._thread.start()

    def end(self) -> None:
        """The command has ended: what is left is copied."""
        self._over_at = time.monotonic()

    def is_done(self, timeout_s: float) -> bool:
        """Whether all is copied, by then at the latest."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Lets go of it. Where a reader stands still, what it has not taken ends with this process."""
        if self._thread.is_alive():
            return
        os.close(self._source)
        if self._is_terminal:
            os.close(self.inlet)

    def _copy(self) -> None:
        while self._is_readable():
            try:
                chunk = os.read(self._source, CHUNK_BYTES)
            except OSError:
                # On Linux this is how a pseudo-terminal signals that its other end was closed.
                return
            if not chunk or not self._write(chunk):
                return

    def _is_readable(self) -> bool:
        while True:
            over_at = self._over_at
            if over_at is not None and time.monotonic() - over_at > TRAILING_OUTPUT_S:
                return False
            if select.select([self._source], [], [], QUIET_OUTPUT_S)[0]:
                return True
            if over_at is not None:
                return False

    def _write(self, chunk: bytes) -> bool:
        """False if our output has no reader any more, or no room: then the command's writes must fail as well."""
        rest = memoryview(chunk)
        try:
            while rest:
                written = self._written(rest)
                self.count += written
                rest = rest[written:]
        except OSError as error:
            if error.errno not in _NO_READER:
                self.error = f"{_NAMES.get(self._target, self._target)}: {error.strerror}"
            null = os.open(os.devnull, os.O_RDONLY)
            # Closed in the end alone: the descriptor must not be reused in between.
            os.dup2(null, self._source)
            os.close(null)
            return False
        return True

    def _written(self, rest: memoryview) -> int:
        """How many bytes were written. Whoever shares the output may have made it non-blocking: waits for room then."""
        while True:
            try:
                return os.write(self._target, rest)
            except BlockingIOError:
                select.select([], [self._target], [])


def _leave_bytes_alone(terminal: int) -> None:
    """Turns output processing off: the real terminal does it, and line feeds must not be converted twice."""
    attributes = termios.tcgetattr(terminal)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)


def block_signals() -> set[signal.Signals]:
    """Blocks signals for `run_command`, in this thread and in those that it starts; returns the previous mask."""
    return {signal.Signals(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)}


class Steered(Protocol):
    """Receives the running command, to signal it from another thread."""

    was_cancelled: bool
    """Whether it has signalled the command to end."""

    def begin(self, process_id: int) -> None:
        """The command has started."""

    def passed_on(self, number: int) -> None:
        """A signal has reached the command."""

    def reap(self, process_id: int) -> tuple[int, int]:
        """As `os.waitpid` without waiting."""

    def end(self) -> None:
        """The command has ended."""


def run_command(argv: Sequence[str], mask: set[signal.Signals], steered: Steered | None = None) -> Finished:
    """Runs a command to its end, in the main thread, after `block_signals`, which returned `mask`."""
    begun_at = time.monotonic()
    outputs = [OutputCopy(_STDOUT)] if _are_one(_STDOUT, _STDERR) else [OutputCopy(_STDOUT), OutputCopy(_STDERR)]
    try:
        process_id = _spawned(argv, outputs, mask)
    except OSError as error:
        _begin(outputs)
        _finish(outputs, is_told=False)
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_RUN
        return Finished(code, None, _since_ms(begun_at), 0, 0, f"{argv[0] or EMPTY}: {error.strerror}")
    _begin(outputs)
    if steered is not None:
        steered.begin(process_id)
    status, is_told = _wait(process_id, outputs, steered)
    if steered is not None:
        steered.end()
        is_told = is_told or steered.was_cancelled
    duration_ms = _since_ms(begun_at)
    _finish(outputs, is_told=is_told)
    ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    unwritten = next((output.error for output in outputs if output.error is not None), None)
    exit_code = os.WEXITSTATUS(status) if ended_by is None else 128 + ended_by
    return Finished(
        exit_code=NOT_WRITTEN if unwritten is not None and not exit_code else exit_code,
        signal=None if ended_by is None else _name(ended_by),
        duration_ms=duration_ms,
        stdout_bytes=outputs[0].count,
        stderr_bytes=outputs[1].count if len(outputs) > 1 else None,
        error=unwritten,
    )


def _are_one(first: int, second: int) -> bool:
    """Whether two descriptors refer to the same file."""
    try:
        one, other = os.fstat(first), os.fstat(second)
    except OSError:
        return False
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def _spawned(argv: Sequence[str], outputs: Sequence[OutputCopy], mask: set[signal.Signals]) -> int:
    if not argv[0]:  # for a shell as well no command; Python takes it for a mistake of ours
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    actions = [(os.POSIX_SPAWN_DUP2, outputs[0].inlet, _STDOUT), (os.POSIX_SPAWN_DUP2, outputs[-1].inlet, _STDERR)]
    # Python ignores these two signals, and a child would inherit that.
    usual = [signal.SIGPIPE, signal.SIGXFSZ]
    return os.posix_spawnp(argv[0], list(argv), os.environ, file_actions=actions, setsigmask=mask, setsigdef=usual)


def _wait(process_id: int, outputs: Sequence[OutputCopy], steered: Steered | None) -> tuple[int, bool]:
    """Waits for the command, passing signals on; its wait status, and whether one of them tells to end."""
    is_told = False
    while True:
        number, is_from_keyboard = _next_signal()
        if number == signal.SIGCHLD:
            found, status = os.waitpid(process_id, os.WNOHANG) if steered is None else steered.reap(process_id)
            if found:
                return status, is_told
        elif number == signal.SIGWINCH:
            for output in outputs:
                output.resize()
            # The command has received it too, perhaps before the size was set.
            os.kill(process_id, signal.SIGWINCH)
        else:
            is_told = is_told or number in TOLD_TO_END
            if not is_from_keyboard:
                os.kill(process_id, number)
            if steered is not None:
                steered.passed_on(number)


def _next_signal() -> tuple[int, bool]:
    """The next signal, and whether it came from the keyboard."""
    if hasattr(signal, "sigwaitinfo"):
        got = signal.sigwaitinfo(_WATCHED)
        return got.si_signo, got.si_code == _FROM_THE_KERNEL
    # Elsewhere the sender is unknown; at a terminal, the two signals that have keys are taken for the keyboard's.
    number = signal.sigwait(_WATCHED)
    return number, number in (signal.SIGINT, signal.SIGQUIT) and os.isatty(0)


def _begin(outputs: Sequence[OutputCopy]) -> None:
    for output in outputs:
        output.begin()


def _finish(outputs: Sequence[OutputCopy], *, is_told: bool) -> None:
    """Copies the remaining output of a command that has ended, for as long as its reader takes; but who is told to end,
    before or now, ends."""
    for output in outputs:
        output.end()
    until = time.monotonic() + TRAILING_OUTPUT_S if is_told else None
    while not all(output.is_done(QUIET_OUTPUT_S) for output in outputs):
        if until is None and _is_told_now():
            until = time.monotonic() + TRAILING_OUTPUT_S
        if until is not None and time.monotonic() >= until:
            break
    for output in outputs:
        output.close()


def _is_told_now() -> bool:
    if hasattr(signal, "sigtimedwait"):
        return signal.sigtimedwait(TOLD_TO_END, 0) is not None
    return not TOLD_TO_END.isdisjoint(signal.sigpending())


def _since_ms(begun_at: float) -> int:
    return round((time.monotonic() - begun_at) * 1000)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
