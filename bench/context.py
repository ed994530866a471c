"""What every scenario is given: how much effort, where to work, whom to tell. Owns the temporary folders."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.profiler import Profiler


@dataclass(frozen=True)
class Effort:
    """Counts and times of one run of the bench; two values of it exist, FULL and QUICK."""

    rounds: int
    round_seconds: float
    screen_seconds: float
    fanout_followers: int
    fanout_seconds: float
    idle_followers: int
    idle_settle_seconds: float
    stored_events: int
    reads: int
    thread_turns: int
    starts: int
    rest_seconds: float
    queued_runs: int
    idle_workers: int
    sdk_calls: int
    neighbours_seconds: float


# Idle followers are watched beyond one ping, which comes every 15 s.
FULL = Effort(
    rounds=3,
    round_seconds=4.0,
    screen_seconds=10.0,
    fanout_followers=1_000,
    fanout_seconds=10.0,
    idle_followers=10_000,
    idle_settle_seconds=18.0,
    stored_events=1_000_000,
    reads=300,
    thread_turns=200,
    starts=5,
    rest_seconds=2.0,
    queued_runs=2_000,
    idle_workers=1_000,
    sdk_calls=2_000,
    neighbours_seconds=60.0,
)
QUICK = Effort(
    rounds=1,
    round_seconds=1.5,
    screen_seconds=2.0,
    fanout_followers=200,
    fanout_seconds=3.0,
    idle_followers=1_000,
    idle_settle_seconds=1.0,
    stored_events=50_000,
    reads=50,
    thread_turns=200,
    starts=1,
    rest_seconds=0.5,
    queued_runs=200,
    idle_workers=200,
    sdk_calls=500,
    neighbours_seconds=10.0,
)


@dataclass(frozen=True)
class Context:
    """The surroundings of a scenario."""

    effort: Effort
    work_dir: Path
    say: Callable[[str], None]
    profiler: Profiler
    # Only this dialect's way in, where a scenario has several.
    way: str | None = None
    # The floor alone: what the machine can do, without the product.
    floor_only: bool = False

    @contextmanager
    def folder(self, label: str) -> Iterator[Path]:
        """A fresh folder, removed at the end."""
        path = Path(tempfile.mkdtemp(prefix=f"{label}-", dir=self.work_dir))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
