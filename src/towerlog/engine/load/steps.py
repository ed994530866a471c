"""Long work in steps: between two of them the event loop may go on with something else."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Protocol, TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]
"""It yields where the event loop may go on with something else, and returns the outcome. Each step is short: a few
milliseconds at most."""


class Go(Protocol):
    """Goes through steps, and now and then lets the event loop go on with something else."""

    def __call__(self, steps: Steps[T], /) -> Awaitable[T]:
        """Their outcome."""
        ...
