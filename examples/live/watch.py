"""Shows the runs of an organisation as they change: the list once, then what changes in it.

TOWERLOG_URL=http://127.0.0.1:8700 TOWERLOG_API_KEY=tl_ro_… python examples/live/watch.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towerlog.sdk.api.client import Client
from towerlog.sdk.api.fleet_shapes import Change


def show(run: Mapping[str, Any]) -> None:
    """One line a state."""
    print(run["run_id"][-6:], run["agent"], run["status"], run["phase"] or "", run["total_cost_usd"] or "", flush=True)


with Client() as client:
    for news in client.watch(kind="run"):
        if not isinstance(news, Change):
            print("missed too much:", news.reason, flush=True)
        elif news.kind == "run":
            show(news.row)
        elif news.kind == "snapshot" and not news.row["resumed"]:
            # From here on everything is told, so what the list shows now is all that came before.
            for run in client.list_runs():
                show(run.raw)
            print("watching", flush=True)
