"""Which of all combinations the quick tier tries; the slow tier tries all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def pairs(first: Iterable[str], second: Iterable[str], *, quick: int = 1) -> list[Any]:
    """Parameters for every pair. In the quick tier each of `second` meets `quick` of `first`, others from one to the
    next, so that each of `first` is there as well when `second` has as many.
    """
    columns = list(first)
    return [
        pytest.param(one, other, marks=() if (at - row) % len(columns) < quick else pytest.mark.slow)
        for row, other in enumerate(second)
        for at, one in enumerate(columns)
    ]
