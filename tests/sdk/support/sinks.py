"""A sink that keeps what is put into it."""

from __future__ import annotations

from typing import Any

from towerlog.sdk.record.run import BaseRun, Run


class ListSink:
    """Events in the order of their coming, and who is waited for."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.waiting = 0

    url = "http://towerlog"

    def put(self, event: dict[str, Any]) -> None:
        self.events.append(event)

    def expect(self, run: BaseRun, waiting: bool) -> None:
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
