"""Where the server's time goes: owns attaching py-spy to it while it is under load, when asked and when installed."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SAMPLES_PER_SECOND = 250
LIMIT_SECONDS = 120
END_DEADLINE_SECONDS = 30


def py_spy_program() -> str | None:
    """py-spy beside this interpreter or on PATH."""
    beside = Path(sys.executable).parent / "py-spy"
    return str(beside) if beside.exists() else shutil.which("py-spy")


class Profiler:
    """Writes one collapsed-stack file per measured stretch into a folder; does nothing without a folder."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.program = py_spy_program() if folder else None

    @property
    def missing(self) -> bool:
        """True when a profile was asked for and cannot be taken."""
        return self.folder is not None and self.program is None

    @contextmanager
    def watching(self, pid: int, label: str) -> Iterator[None]:
        """Sample this process while the block runs."""
        if self.folder is None or self.program is None:
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        output = self.folder / f"{label}.folded"
        command = [self.program, "record", "--pid", str(pid), "--rate", str(SAMPLES_PER_SECOND), "--threads"]
        command += ["--duration", str(LIMIT_SECONDS), "--format", "raw", "--output", str(output)]
        sampler = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            sampler.send_signal(signal.SIGINT)
            try:
                sampler.wait(END_DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                sampler.kill()
                sampler.wait(END_DEADLINE_SECONDS)
