"""A sink that keeps what is put into it."""

from __future__ import annotations

import json
from typing import Any

from towerlog.sdk.record.commands import settlement_of
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import Run


class ListSink:
    """Events in the order of their coming, and who is waited for. It confirms withdrawals, as a server does."""

    def __init__(self, *first: dict[str, Any]) -> None:
        """`first`: commands that are there before a withdrawal, and come with the reply to it."""
        self.events: list[dict[str, Any]] = []
        self.waiting = 0
        self._first = first
        self._run: BaseRun | None = None

    url = "http://towerlog"

    def put(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        settled = settlement_of(json.dumps(event, default=str).replace(": ", ":").encode())
        if settled is not None and self._run is not None:
            for command in self._first:
                self._run.deliver({**command, "question_key": settled["question_key"]})
            self._run.deliver(settled)

    def expect(self, run: BaseRun, waiting: bool) -> None:
        self._run = run
        self.waiting += 1 if waiting else -1

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    @property
    def data(self) -> list[dict[str, Any]]:
        return [event["data"] for event in self.events]


def told() -> tuple[Run, list[dict[str, Any]]]:
    """A run, and the events that it will have told."""
    sink = ListSink()
    return Run(sink, "r1", "agent"), sink.events
