"""A sink that keeps what is put into it."""

from __future__ import annotations

import json
from typing import Any

from towerlog.sdk.record.commands import settlement_of, storage_of
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import Run


def line_of(event: dict[str, Any]) -> bytes:
    """An event as it is sent."""
    return json.dumps(event, default=str, separators=(",", ":")).encode()


def tell_storage(run: BaseRun, event: dict[str, Any]) -> None:
    """Tells a run that the server has its event, if that is a question: from now on it can be answered."""
    if (stored := storage_of(line_of(event))) is not None:
        run.deliver(stored)


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
        if self._run is None:
            return
        tell_storage(self._run, event)
        settled = settlement_of(line_of(event), 0)
        if settled is not None and settled["type"] == "withdrawn":
            for command in self._first:
                self._run.deliver({**command, "question_key": settled["question_key"]})
            self._run.deliver(settled)

    def expect(self, run: BaseRun, waiting: bool) -> None:
        self._run = run
        for event in self.events:
            tell_storage(run, event)
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
