"""The threads of a recorder: a sender, a keeper that spools events which wait too long, and a listener for commands.

The sender has at most one request under way, so that the server gets the events in order. Nothing here raises into the
program: problems are logged once and shown in the status.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from towerlog.sdk.record.backlog.buffer import Backlog, Batch
from towerlog.sdk.record.backlog.hooks import Hooks
from towerlog.sdk.record.backlog.keeper import Keeper
from towerlog.sdk.record.backlog.losses import Losses, Range
from towerlog.sdk.record.outcomes import Outcomes
from towerlog.sdk.wire.address import TIMEOUT_S
from towerlog.sdk.wire.errors import Unreachable
from towerlog.sdk.wire.event_batch import (
    BATCH_BYTES,
    BATCH_EVENTS,
    UNKNOWN_BASE,
    BatchReply,
    Disposition,
    Transport,
    send_batch,
)
from towerlog.sdk.wire.refusals import printable
from towerlog.sdk.wire.retries import Backoff, Pace

LINGER_S = 0.2
"""How long an event may wait in memory to be sent together with others."""
ADOPT_EVERY_S = 30.0
POLL_EVERY_S = 5.0
"""How long the server is not contacted during a run before its pending commands are asked for."""
LISTEN_WAIT_S = 5
MAX_RUNS = 100
SPOOL_FULL = "the spool is full"
AT_THE_END = "they were reported while the program ended"

_log = logging.getLogger("towerlog.sdk")


class Delivery:
    """Sends events from the backlog to the server until it is stopped."""

    def __init__(self, backlog: Backlog, losses: Losses, hooks: Hooks) -> None:
        self.sent = 0
        self.last_error: str | None = None
        self._backlog = backlog
        self._losses = losses
        self._hooks = hooks
        self._transport: Transport | None = None
        self._news = threading.Event()
        self._full = threading.Event()
        self._stopping = threading.Event()
        self._adopted = threading.Event()
        self._keeper = Keeper(backlog, self._stopping, self._note)
        self.outcomes = Outcomes(backlog, losses, hooks, self._note, self._command)
        self._lock = threading.RLock()
        self._threads: list[threading.Thread] = []
        self._expecting: dict[str, int] = {}
        self._listener: threading.Thread | None = None
        self._batch_max = BATCH_EVENTS
        self._backoff = Backoff(hooks.longest_pause_s)
        self._heard_at = time.monotonic()
        self._reachable = True
        self._logged: dict[str, str] = {}
        """The last message of each kind, until a request succeeds."""
        self._why = hooks.why_not or "no server was asked"
        """What kept the last request from being answered."""
        self._notices: list[tuple[Range, bytes]] = []

    # Called by the program's threads: quick, and raises nothing

    def noticed(self) -> None:
        """Called after an event was added to the backlog."""
        if self._stopping.is_set():
            self._keeper.spill(0)
            return
        if not self._news.is_set():
            self._news.set()
            if not self._threads:
                self._start()
        events, size = self._backlog.in_memory
        self._keeper.look(size)
        if (events >= BATCH_EVENTS or size >= BATCH_BYTES) and not self._full.is_set():
            self._full.set()

    def _start(self) -> None:
        with self._lock:
            if self._threads or self._stopping.is_set():
                return
            loops = {"towerlog-sender": self._send_for_ever, "towerlog-keeper": self._keeper.run}
            self._threads = [threading.Thread(target=loop, name=name, daemon=True) for name, loop in loops.items()]
            for thread in self._threads:
                thread.start()

    def expect(self, run_key: str, waiting: bool) -> None:
        """Records that somebody waits for a command of a run, or no longer does."""
        with self._lock:
            count = self._expecting.get(run_key, 0) + (1 if waiting else -1)
            self._expecting[run_key] = count
            if count <= 0:
                del self._expecting[run_key]
            if self._expecting and self._listener is None and not self._stopping.is_set():
                self._listener = threading.Thread(target=self._listen, name="towerlog-listener", daemon=True)
                self._listener.start()
        self._full.set()

    def hurry(self) -> None:
        """Makes the sender send what is in memory without waiting for more."""
        if self._backlog.pending:
            self._news.set()
            self._start()
        self._full.set()

    def flush(self, timeout_s: float) -> bool:
        """Waits until every event added before is stored by the server; False on timeout, or if one was dropped."""
        ends_at = time.monotonic() + timeout_s
        dropped = self._losses.dropped
        target = self._backlog.accepted
        self.hurry()
        changed = self._backlog.changed
        with changed:
            while self._backlog.done < min(target, self._backlog.accepted) or self._owes():
                left_s = ends_at - time.monotonic()
                if left_s <= 0:
                    return False
                changed.wait(min(left_s, 0.05))
        return self._losses.dropped == dropped

    def drain(self, timeout_s: float) -> bool:
        """Waits until everything is delivered that this and ended processes have left; False on timeout."""
        ends_at = time.monotonic() + timeout_s
        self._start()
        if not self._adopted.wait(timeout_s):
            return False
        with self._backlog.changed:
            while self._backlog.pending or self._backlog.spool.waiting or self._owes():
                left_s = ends_at - time.monotonic()
                if left_s <= 0:
                    return False
                self._backlog.changed.wait(min(left_s, 0.05))
        return True

    def _owes(self) -> bool:
        """Whether a loss has not been reported to the server yet."""
        return bool(self._losses) or bool(self._notices)

    def stop(self, timeout_s: float) -> None:
        """Ends the threads, and spools what was not delivered."""
        self._stopping.set()
        for event in (self._news, self._full):
            event.set()
        self._keeper.wake()
        ends_at = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, ends_at - time.monotonic()))
        if self._transport is not None:
            # Interrupts a request that is still under way: its events are spooled like the others.
            self._transport.close()
        self._keeper.spill(0)
        self._keeper.sync()
        if lost := self._backlog.queued:
            why = self._keeper.fault or (AT_THE_END if self._backlog.fits else SPOOL_FULL)
            _log.error("%d events lost: %s, and %s", lost, printable(self._why), why)

    @property
    def reachable(self) -> bool:
        """Whether the last request got a usable reply."""
        return self._reachable

    # The sender

    def _send_for_ever(self) -> None:
        adopt_at = 0.0
        while not self._stopping.is_set():
            try:
                if time.monotonic() >= adopt_at:
                    adopt_at = time.monotonic() + ADOPT_EVERY_S
                    self._adopt()
                self._hooks.beat()
                self._drain()
                self._idle(adopt_at)
            except Exception as error:
                # An internal error must not end the delivery for good.
                _log.exception("delivery failed")
                self._note(f"internal error: {type(error).__name__}: {error}")
                self._stopping.wait(self._backoff.next_s())

    def _adopt(self) -> None:
        if not self._hooks.delivers:
            return
        try:
            if found := self._backlog.adopt():
                _log.info("sending %d events that earlier processes left undelivered", found)
        except OSError as error:
            self._note(f"cannot read the spool: {error}")
        self._adopted.set()

    def _idle(self, adopt_at: float) -> None:
        """Waits until there is something to send; then a moment longer, for more events to come."""
        going_on = self._hooks.going_on()
        now = time.monotonic()
        poll_s = max(0.0, self._heard_at + POLL_EVERY_S - now) if going_on else ADOPT_EVERY_S
        if self._news.wait(min(poll_s, max(0.0, adopt_at - now))):
            self._full.wait(LINGER_S)
            self._full.clear()
            self._news.clear()
        elif going_on and time.monotonic() - self._heard_at >= POLL_EVERY_S:
            self._try([], going_on)

    def _drain(self) -> None:
        """Sends until nothing is left; a failure is followed by its pause."""
        while not self._stopping.is_set():
            # Losses are told at once where the server answers; where it does not, events come first.
            is_told = self._reachable and self._owes()
            batch = None if is_told else self._backlog.take(self._batch_max, BATCH_BYTES)
            if batch is not None:
                self._dispatch(batch)
            elif self._owes():
                # `flush` reads both under this lock: a loss must always be in one of the two places.
                with self._backlog.changed:
                    self._notices += [(loss, self._hooks.notice(loss)) for loss in self._losses.take()]
                self._tell_losses()
            else:
                return

    def _dispatch(self, batch: Batch) -> None:
        settled = False
        try:
            answer = self._try(batch.lines, self._hooks.going_on(), batch.client_id)
            if answer is not None and answer.disposition is Disposition.TAKEN:
                settled = self._resend(batch, answer) and self._is_answered(answer)
                if settled:
                    self.outcomes.take(batch, answer)
            elif answer is not None and answer.disposition is Disposition.SMALLER:
                settled = self._narrow(batch, answer)
        finally:
            if settled:
                self._backlog.settle(batch)
            else:
                self._backlog.give_back(batch)
                # The keeper may have found the memory empty just before the batch came back.
                self._keeper.look(0)
        if settled:
            self._batch_max = min(BATCH_EVENTS, self._batch_max * 2)

    def _resend(self, batch: Batch, answer: BatchReply) -> bool:
        """Sends checkpoints with older bases whose base the server did not know; False if that has to be repeated."""
        for index, line in enumerate(batch.lines):
            while answer.results[index].get("code") == UNKNOWN_BASE:
                older = self._hooks.with_older_base(batch.client_id, line)
                if older is None:
                    break
                line = older
                again = self._try([line], [], batch.client_id)
                if again is None or again.disposition in (Disposition.LATER, Disposition.REFUSED):
                    return False
                if again.disposition is Disposition.SMALLER:
                    break
                answer.results[index] = again.results[0]
        return True

    def _is_answered(self, answer: BatchReply) -> bool:
        """Whether a batch is settled; if not, the pause that is due."""
        words = self.outcomes.why_again(answer)
        if words is not None:
            self._later(words, None)
        return words is None

    def _narrow(self, batch: Batch, answer: BatchReply) -> bool:
        """Halves the batch size, down to the one event that is at fault; that one is dropped."""
        if len(batch.lines) > 1:
            self._batch_max = max(1, len(batch.lines) // 2)
            return False
        self.outcomes.refuse(batch.client_id, batch.lines[0], "refused by the server", answer.words)
        return True

    def _tell_losses(self) -> None:
        """Reports to the server which numbers will never come, each under the client that had them."""
        client_id = self._notices[0][0].client_id
        told = [(loss, line) for loss, line in self._notices if loss.client_id == client_id][:BATCH_EVENTS]
        answer = self._try([line for _, line in told], [], client_id)
        if answer is not None and answer.disposition is Disposition.TAKEN and not self._is_answered(answer):
            return
        if answer is not None and answer.disposition in (Disposition.TAKEN, Disposition.SMALLER):
            # A rejected notice is not sent again: it would be rejected again.
            self._notices = [notice for notice in self._notices if notice not in told]
            with self._backlog.changed:
                self._backlog.changed.notify_all()

    def _try(self, lines: Sequence[bytes], runs: Sequence[str], client_id: str | None = None) -> BatchReply | None:
        """One request; if it fails, the pause that is due. None when there was no reply."""
        try:
            transport = self._opened()
            answer = send_batch(transport, client_id or self._backlog.client_id, lines, runs[:MAX_RUNS], 0, TIMEOUT_S)
        except (Unreachable, ValueError) as error:
            self._later(str(error), None)
            return None
        finally:
            self._heard_at = time.monotonic()
        self.sent += len(lines)
        if answer.disposition is Disposition.LATER:
            self._later(answer.words, answer.retry_after_s)
        elif answer.disposition is Disposition.REFUSED:
            self._later(answer.words, max(self._hooks.longest_pause_s, answer.retry_after_s or 0.0))
        else:
            self._backoff.reset()
            self._reachable = True
            self._logged.clear()
            self.outcomes.asked(lines, answer)
            self._command(answer.commands)
        return answer

    def _opened(self) -> Transport:
        if self._transport is None:
            self._transport = self._hooks.open_transport()
        return self._transport

    def _later(self, words: str, wanted_s: float | None) -> None:
        self._reachable = False
        self._why = words
        if self._hooks.delivers:
            self._note(f"events not delivered yet, will retry: {words}")
        else:
            # The recorder has logged it when it was made, and nothing is tried.
            self.last_error = printable(words)
        self._stopping.wait(self._backoff.next_s(wanted_s))

    def _note(self, message: str, kind: str = "delivery") -> None:
        message = printable(message)
        # Once, until a request succeeds or there is another problem of this kind.
        self.last_error = message
        if self._logged.get(kind) != message:
            self._logged[kind] = message
            _log.warning("%s", message)

    def _command(self, commands: Sequence[dict[str, Any]]) -> bool:
        """Hands commands to their runs; whether any was new."""
        is_news = False
        for command in commands:
            try:
                is_news |= self._hooks.commanded(command)
            except Exception:
                _log.exception("a command could not be delivered to its run")
        return is_news

    # The listener

    def _listen(self) -> None:
        """Keeps a long poll open at the server while somebody waits for a command."""
        backoff, pace = Backoff(self._hooks.longest_pause_s), Pace(LISTEN_WAIT_S)
        while not self._stopping.is_set():
            with self._lock:
                runs = list(self._expecting)[:MAX_RUNS]
                if not runs:
                    self._listener = None
                    return
            asked_at = time.monotonic()
            try:
                client_id = self._backlog.client_id
                answer = send_batch(self._opened(), client_id, [], runs, LISTEN_WAIT_S, TIMEOUT_S)
            except (Unreachable, ValueError):
                self._stopping.wait(backoff.next_s())
                continue
            except Exception as error:
                # As for the sender: while somebody waits for a command, somebody has to listen.
                _log.exception("listening for commands failed")
                self._note(f"internal error: {type(error).__name__}: {error}")
                self._stopping.wait(backoff.next_s())
                continue
            if answer.disposition is Disposition.TAKEN:
                backoff.reset()
                is_news = self._command(answer.commands)
                pause_s = pace.pause_s(time.monotonic() - asked_at, is_news)
            else:
                pause_s = backoff.next_s(1.0)
            self._stopping.wait(pause_s)
