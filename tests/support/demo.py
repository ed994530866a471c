"""A running `examples/demo.py`, on a port and a data folder of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2

from tests.support.ports import HeldPort
from tests.support.server import clean_environment, wait_for_exit
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]
START_S = 180.0
STOP_S = 90.0


class Demo:
    """The demo as a reader starts it; it goes on until `stop`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held = HeldPort()
        self.url = self._held.url
        self._printed = folder / "printed"
        # Hours, so that it is Ctrl-C that ends it.
        command = [sys.executable, "examples/demo.py", "--port", str(self._held.number), "--seconds", "7200"]
        with self._printed.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, "--data-dir", str(folder / "data")],
                cwd=ROOT,
                stdout=out,
                stderr=out,
                env=clean_environment({}),
            )

    @property
    def text(self) -> str:
        """All that it has printed."""
        return self._printed.read_text()

    @property
    def key(self) -> str:
        """Its admin key."""
        return (self.folder / "data" / "demo.key").read_text()

    def commands(self) -> list[str]:
        """The commands that it prints, once all are there."""

        def complete() -> bool:
            assert self.process.poll() is None, self.text
            return "Ctrl-C ends everything." in self.text

        wait_until(complete, "the demo to say where to look", deadline_s=START_S)
        whole = re.sub(r" \\\n +", " ", self.text)
        return re.findall(r"^  ((?:curl|towerlog|tail) .+)$", whole, re.MULTILINE)

    def exports(self) -> str:
        """The lines that it prints for another terminal."""
        return "\n".join(re.findall(r"^  (export .+)$", self.text, re.MULTILINE))

    def client(self) -> httpx2.Client:
        """A client of its server."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx2.Client(base_url=self.url, headers=headers, trust_env=False)

    def stop(self) -> None:
        """Ctrl-C, and insists on its end."""
        self.process.send_signal(signal.SIGINT)
        self._held.close()
        assert wait_for_exit(self.process, STOP_S), f"the demo does not end\n{self.text}"
