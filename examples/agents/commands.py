"""An agent that is no program of its own: a few commands, each run and reported by `towerlog exec`.

    TOWERLOG_URL=http://127.0.0.1:8700 TOWERLOG_API_KEY=… python examples/agents/commands.py [FOLDER]

What a crontab would hold. The commands print what they always print; how each began and ended is told to the server.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from wire import folder_of, say

AGENT = "housekeeper"
COMMANDS = ("du -sk src", "wc -l README.md", "find docs -name *.md -size +8k", "cksum pyproject.toml", "ls -l tests")
PAUSE_S = 2.0
COMMAND_LIMIT_S = 30.0
TOWERLOG = str(Path(sys.executable).with_name("towerlog"))


class Duty:
    """Whether there is more to do; SIGTERM reaches the command as well, and this waits for it to have reported."""

    def __init__(self) -> None:
        self.over = False
        signal.signal(signal.SIGTERM, self._end)

    def _end(self, _signal: int, _frame: object) -> None:
        self.over = True


def run_command(command: str, folder: Path) -> None:
    """Runs and reports one command."""
    whole = [TOWERLOG, "exec", "--agent", AGENT, "--thread", "housekeeping", "--", *command.split()]
    done = subprocess.run(whole, cwd=folder, capture_output=True, timeout=COMMAND_LIMIT_S, check=False)
    say(AGENT, f"{command}: exit code {done.returncode}, {len(done.stdout)} bytes")


def main() -> None:
    folder = folder_of(__doc__)
    duty = Duty()
    while True:
        for command in COMMANDS:
            if duty.over:
                return
            run_command(command, folder)
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
