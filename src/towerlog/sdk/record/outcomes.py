"""What became of the events that were sent: acknowledged, refused, or answered with a word that says neither."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from towerlog.sdk.record.backlog.buffer import Backlog, Batch
from towerlog.sdk.record.backlog.hooks import Hooks
from towerlog.sdk.record.backlog.losses import Losses
from towerlog.sdk.record.commands import refusal_of, settlement_of, storage_of
from towerlog.sdk.record.encoder import place_of
from towerlog.sdk.wire.event_batch import BATCH_BYTES, STRANGE_TRIES, BatchReply, is_stored, strange_status


class Outcomes:
    """Counts events by what the server has answered. For the sender's thread alone."""

    def __init__(
        self,
        backlog: Backlog,
        losses: Losses,
        hooks: Hooks,
        note: Callable[[str], None],
        command: Callable[[Sequence[dict[str, Any]]], object],
    ) -> None:
        """`note` is told what people should know; `command` what a run is to be told."""
        self.acknowledged = self.duplicates = self.refused = 0
        self._backlog = backlog
        self._losses = losses
        self._hooks = hooks
        self._note = note
        self._command = command
        self._strange = 0
        """How often in a row a batch was answered with an unknown status."""

    def why_again(self, answer: BatchReply) -> str | None:
        """Why a batch is to be sent again; None where it is settled, be it that it was sent often enough."""
        words = next((words for result in answer.results if (words := strange_status(result)) is not None), None)
        self._strange = 0 if words is None else self._strange + 1
        if words is None or self._strange >= STRANGE_TRIES:
            self._strange = 0
            return None
        return words

    def asked(self, lines: Sequence[bytes], answer: BatchReply) -> None:
        """Tells those who ask of the questions that the server has now, before the commands of that reply."""
        for line, result in zip(lines, answer.results, strict=False):
            if is_stored(result) and (stored := storage_of(line)) is not None:
                self._command([stored])

    def take(self, batch: Batch, answer: BatchReply) -> None:
        """Counts the events of a batch that is settled."""
        self._name_runs(batch, answer)
        for line, result in zip(batch.lines, answer.results, strict=True):
            words = strange_status(result)
            if words is not None:
                self._set_aside(batch.client_id, line, words)
            elif result["status"] == "refused":
                self.refuse(batch.client_id, line, f"refused: {result.get('code')}", str(result.get("message")))
            else:
                self.acknowledged += 1
                self.duplicates += result["status"] == "duplicate"
                if (settled := settlement_of(line, result.get("seq"))) is not None:
                    self._command([settled])

    def refuse(self, client_id: str, line: bytes, reason: str, words: str) -> None:
        """Counts an event that the server does not take."""
        self.refused += 1
        self._losses.note_lines(client_id, [line], reason)
        self._note(f"event of run {place_of(line)[0]!r} dropped: the server rejected it ({words})")
        if (refused := refusal_of(line, words)) is not None:
            self._command([refused])

    def _set_aside(self, client_id: str, line: bytes, words: str) -> None:
        """Keeps an event for people of which nobody knows whether the server has it."""
        self._losses.note_lines(client_id, [line], words)
        try:
            kept = f"it is kept in {self._backlog.set_aside(line)}"
        except OSError as error:
            kept = f"it could not be kept: {error}"
        self._note(f"event of run {place_of(line)[0]!r} not acknowledged: {words}; {kept}")

    def _name_runs(self, batch: Batch, answer: BatchReply) -> None:
        """Tells new runs their ids at the server."""
        for line, result in zip(batch.lines, answer.results, strict=True):
            run_id = result.get("run_id")
            # A run's first event is small, unless its input is not: then the next one names it.
            if isinstance(run_id, str) and len(line) <= BATCH_BYTES and self._hooks.nameless():
                self._hooks.named(place_of(line)[0], run_id)
