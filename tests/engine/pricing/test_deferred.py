"""The list of prices is read when it is needed, once."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from towerlog.engine.pricing import listed
from towerlog.engine.pricing.deferred import DeferredPrices

AT_MS = 1_760_000_000_000


def test_it_answers_as_the_list_and_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[listed.ListedPrices] = []
    real, another = listed.ListedPrices, threading.Barrier(2)

    def counted() -> listed.ListedPrices:
        with suppress(threading.BrokenBarrierError):  # nobody else comes here, so that the wait ends by itself
            another.wait(0.5)
        made.append(real())
        return made[-1]

    monkeypatch.setattr(listed, "ListedPrices", counted)
    prices = DeferredPrices()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: prices.card("openai", "gpt-4o", AT_MS), range(40)))
    prices.load()
    assert found == [real().card("openai", "gpt-4o", AT_MS)] * 40
    assert found[0] is not None
    assert len(made) == 1


def test_a_server_that_is_imported_has_read_neither_prices_nor_jose() -> None:
    """Together they are a quarter of the processor time of a start."""
    said = "import sys, towerlog.server; print(sorted({name.split('.')[0] for name in sys.modules}))"
    modules = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True).stdout
    assert "msgspec" in modules
    for name in ("genai_prices", "pydantic", "joserfc"):
        assert f"'{name}'" not in modules
