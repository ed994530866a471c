"""How much work one group may be: whoever waits behind a group waits for all of it.

What a piece of work takes differs by what is asked, and by what else the process does. So groups become smaller while
they take long to load and place, and larger again when they do not.
"""

from __future__ import annotations

from towerlog.ambient import Clock

MAX_GROUP_COMMANDS = 512
MAX_GROUP_WORK = 1024
"""Work of one group, unless one command is more: plain events, of which a thousand take about 50 ms."""
MIN_GROUP_WORK = 64
"""A group costs a millisecond or two whatever is in it: smaller ones would spend more on groups than on commands."""
PLACED_MS = 15
"""What loading and placing a group should take at most. The wait for the disk is no part: less work saves none."""
GATHER_MS = 5
"""How long what is on its way in may join a group, but for the turn of the event loop in which this is over."""


class GroupSize:
    """How large the groups of one writer may be."""

    def __init__(self) -> None:
        """As large as groups may be."""
        self.most = MAX_GROUP_WORK
        self.taken = 0
        """Work of the group that was taken last."""
        self._gathers_until = 0

    def note(self, took_ms: int) -> None:
        """A group of more than half of `most` took so long to load and place. A smaller one tells nothing."""
        if took_ms > PLACED_MS:
            self.most = max(MIN_GROUP_WORK, self.most // 2)
        elif took_ms * 2 < PLACED_MS:
            self.most = min(MAX_GROUP_WORK, self.most * 5 // 4)

    def is_enough(self, commands: int, turn: int, clock: Clock) -> bool:
        """Whether a group need not wait for more than these commands, after so many turns of the event loop."""
        now_ms = clock.steady_ms()
        if not turn:
            self._gathers_until = now_ms + GATHER_MS
        return commands >= MAX_GROUP_COMMANDS or now_ms >= self._gathers_until
