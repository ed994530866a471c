"""The list of prices is read when it is needed, once, and never by the event loop."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.projections.test_computed_costs import call
from tests.support.rig import open_rig
from towerlog.engine.pricing import price_list
from towerlog.engine.pricing.start import DeferredPrices
from towerlog.model.question import RunFilter

AT_MS = 1_760_000_000_000


def test_it_answers_as_the_list_and_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[price_list.ListedPrices] = []
    real, another = price_list.ListedPrices, threading.Barrier(2)

    def counted() -> price_list.ListedPrices:
        with suppress(threading.BrokenBarrierError):  # nobody else comes here, so that the wait ends by itself
            another.wait(0.5)
        made.append(real())
        return made[-1]

    monkeypatch.setattr(price_list, "ListedPrices", counted)
    prices = DeferredPrices()
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda _: prices.load(), range(40)):
            pass
    found = prices.card("openai", "gpt-4o", AT_MS)
    assert found is not None
    assert found == real().card("openai", "gpt-4o", AT_MS)
    assert len(made) == 1


def test_who_asks_before_it_was_read_is_refused() -> None:
    prices = DeferredPrices()
    with pytest.raises(RuntimeError, match="before it was read"):
        prices.card("openai", "gpt-4o", AT_MS)


async def test_what_is_priced_first_waits_for_the_list_beside_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    real = price_list.ListedPrices

    def noted() -> price_list.ListedPrices:
        threads.append(threading.get_ident())
        return real()

    monkeypatch.setattr(price_list, "ListedPrices", noted)
    async with open_rig(tmp_path, prices=DeferredPrices()) as rig:
        await call(rig, "an agent", "gpt-4o", 1000)
        [row] = await rig.store.runs(rig.org, RunFilter(), 2, None)
        assert row.usage.computed_nanos == 2_500_000
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


def test_a_server_that_is_imported_has_read_what_it_needs_later() -> None:
    """Together that is a quarter of the processor time of a start."""
    said = "import sys, towerlog.server; print(sorted({name.split('.')[0] for name in sys.modules}))"
    modules = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True).stdout
    assert "msgspec" in modules
    for name in ("genai_prices", "pydantic", "joserfc", "markdown_it"):
        assert f"'{name}'" not in modules
