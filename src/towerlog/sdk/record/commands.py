"""Commands of the server for a run: cancel, input, message, pause, resume. Delivered by one thread, awaited by others.

A command takes effect once, however often the server repeats it, and is acknowledged then: a cancel when the program
learns of it. An answer reaches the question of its key, and no other: once the server has that question, and only if it
came with the reply to that or was given later. What came before, say with the claim of a run, may have been withdrawn
since; what still holds is repeated with that reply.

Whether an answer or the withdrawal of its question was first is the server's word: whoever stops waiting says so, and
waits on until the reply to that has come. It carries the answer if that was first.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from typing import Any, NamedTuple

from towerlog.sdk.record.values.held_answers import HeldAnswers

MAX_REMEMBERED = 1000
"""Command ids of a run that are remembered, to recognise repetitions."""
MAX_MESSAGES = 100
"""Messages that are kept until the agent reads them; the server sends fewer."""
MAX_PENDING = 128
"""Pending commands that a server has of a run at a time; it has fewer."""
MAX_GIVEN_UP = 1000
"""Questions of a run that nobody waits for any more, remembered so that a late answer is told as not taken."""
MAX_CALLBACKS = 100

Command = Mapping[str, Any]


NO_ANSWER = "no answer in time"
CANCELLED = "cancelled"
"""What `RunCancelled` says where nobody gave a reason."""
ENDED = "the run has ended"
"""What `RunCancelled` says to whoever still waits when the program itself has ended the run."""


class RunCancelled(Exception):
    """The run was cancelled, or has ended otherwise; its text is the reason, where the person gave one."""


class QuestionRefused(Exception):
    """The server has not stored a question, so that nobody can answer it; its text is the server's reason."""


class QuestionExpired(Exception):
    """Nobody has answered the question in the time that it had."""


def refusal_of(line: bytes, words: str) -> dict[str, Any] | None:
    """What tells the asker that the server refused an encoded event, if that is a question; None if it is not."""
    return _word_of(line, "run.waiting_for_input", "refused", words)


def storage_of(line: bytes) -> dict[str, Any] | None:
    """What tells the asker that the server has stored an encoded event, if that is a question; None if it is not.

    To be delivered before the commands that came with that reply: an answer among them is one to this question.
    """
    return _word_of(line, "run.waiting_for_input", "asked", 0)


def settlement_of(line: bytes, seq: object) -> dict[str, Any] | None:
    """What else the asker learns from that the server has stored an encoded event with this seq, if that is a question
    or a withdrawal; None if it is not.

    To be delivered after the commands that came with that reply. An answer among them was before the withdrawal; and an
    older one that is not among them was withdrawn before the question.
    """
    asked = _word_of(line, "run.waiting_for_input", "asked", seq if isinstance(seq, int) else 0)
    return asked or _word_of(line, "run.question_withdrawn", "withdrawn", None)


class _Asker(NamedTuple):
    """Somebody who waits for an answer."""

    future: Future[Any]
    above: int | None = None
    """Answers count whose command has a higher id; None: none do, the server does not have the question yet."""
    holds: bool = False
    """Whether the answer is acknowledged by `settle_answer` alone."""


def _word_of(line: bytes, event_type: str, kind: str, content: str | int | None) -> dict[str, Any] | None:
    """A word of this side to the asker of the question that an encoded event of this type is about."""
    if b'"%s"' % event_type.encode() not in line:
        return None
    event = json.loads(line)
    if event.get("type") != event_type:
        return None
    key = event["data"].get("question_key")
    name = f"{kind}:{key}" if kind != "asked" else f"{kind}:{key}:{content}"
    word = {"type": kind, "command_id": name, "question_key": key, "content": content}
    return word | ({"run_key": event["run_key"]} if "run_key" in event else {})


class Inbox:
    """The commands of one run."""

    def __init__(self, acknowledge: Callable[[Command], None]) -> None:
        self._acknowledge = acknowledge
        self.reason: str | None = None
        """Why the run is being cancelled, in the words of whoever requested it; None where they gave none."""
        self._lock = threading.Lock()
        self._seen: deque[object] = deque(maxlen=MAX_REMEMBERED)
        self._asking: dict[str, _Asker] = {}
        """Key of a question that was asked in this attempt → who waits for its answer."""
        self._held = HeldAnswers()
        self._given_up: deque[str] = deque(maxlen=MAX_GIVEN_UP)
        """Keys of questions whose `ask` has ended without an answer."""
        self._left_are: bool | None = None
        """Whether answers to what only an attempt before has asked are used here; None: nobody knows yet."""
        self._left: dict[str, Command] = {}
        """Such answers, by the keys of their questions."""
        self._messages: deque[Command] = deque(maxlen=MAX_MESSAGES)
        self._pause: Command | None = None
        self._paused: list[Future[Any]] = []
        """One for each of the program's threads and tasks that wait in a pause."""
        self._callbacks: deque[Callable[[], None]] = deque(maxlen=MAX_CALLBACKS)
        self._unnoticed: Command | None = None
        """A cancel of which the program has not learnt yet."""
        self.cancelled = False
        self._is_closed = False

    def notices_cancel(self) -> bool:
        """Whether there was a cancel, for code of the program: it is acknowledged then, as the program knows."""
        with self._lock:
            command, self._unnoticed = self._unnoticed, None
        if command is not None:
            self._acknowledge(command)
        return self.cancelled

    @property
    def pausing(self) -> bool:
        """Whether a pause was requested that has not begun."""
        return self._pause is not None

    def take(self, command: Command) -> bool:
        """Carries out a command that has not been seen before, and says whether it was; an unknown type is ignored."""
        with self._lock:
            command_id = command.get("command_id")
            if command_id in self._seen:
                return False
            if command.get("type") == "input" and self._is_early(command):
                self._left = {**self._left, str(command.get("question_key")): command}
                return False
            self._seen.append(command_id)
        match command.get("type"):
            case "cancel":
                self._cancel(command)
            case "input":
                self._answered(command)
            case "message":
                with self._lock:
                    self._messages.append(command)
            case "pause":
                with self._lock:
                    self._pause = command
            case "resume":
                self._resumed(command)
            case "refused":  # a word of this side: see `refusal_of`
                self._refused(command)
            case "asked":  # another: see `storage_of`
                self._stored(command)
            case "withdrawn":  # another: see `settlement_of`
                self._withdrawn(command)
            case _:
                pass
        return True

    def after_fork(self) -> None:
        """In the child of a fork: makes a new lock; a thread that holds the old one exists only in the parent."""
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raises RunCancelled after a cancel."""
        if self.notices_cancel():
            raise self._cancellation()

    def check_open(self) -> None:
        """Raises RunCancelled after a cancel, and after the end of the run: nobody answers what is asked then."""
        self.check()
        if self._is_closed:
            raise RunCancelled(ENDED)

    def close(self) -> None:
        """Ends all waits with RunCancelled: the program has ended the run, so that nothing is to come any more."""
        with self._lock:
            self._is_closed, self._pause = True, None
            waiting = self._stop_waiting()
        for future in waiting:
            with contextlib.suppress(InvalidStateError):
                future.set_exception(RunCancelled(ENDED))

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Calls back once on a cancel; at once if there was one already."""
        with self._lock:
            if not self.cancelled:
                self._callbacks.append(callback)
                return
        self.notices_cancel()
        callback()

    def answer(self, key: str, *, holds: bool = False) -> Future[Any]:
        """The answer to the question of this key, which is to be told after this call; acknowledged when it arrives.

        With `holds`, only by `settle_answer`: until then the server gives it again to whoever asks the same, here too.
        """
        future: Future[Any] = Future()
        with self._lock:
            held = self._held.find(key)
            if self.cancelled or self._is_closed:
                future.set_exception(self._cancellation() if self.cancelled else RunCancelled(ENDED))
            elif held is not None:
                _answer(future, held)
            else:
                self._asking[key] = _Asker(future, holds=holds)
        if future.done():
            self.notices_cancel()
        return future

    def settle_answer(self, key: str, *, taken: bool) -> None:
        """Acknowledges an answer that is held: as taken, or as one that reached nobody."""
        with self._lock:
            command = self._held.release(key)
        if command is not None:
            self._acknowledge(command if taken else {**command, "taken": False})

    def full(self) -> Future[None]:
        """What is done once so many answers are held that a server may refuse one more."""
        with self._lock:
            return self._held.full()

    def let_oldest_go(self) -> None:
        """Acknowledges the oldest of held answers that nothing has gone on with, so that others can be given."""
        with self._lock:
            over = self._held.let_oldest_go()
        for command in over:
            self._acknowledge(command)

    def was_let_go(self, key: str) -> bool:
        """Whether an answer that is to be held was acknowledged before it was used: there was no room for it."""
        return self._held.was_let_go(key)

    def waits_for(self, key: str) -> bool:
        """Whether the answer to this question has not come, nor anything else that ends the wait for it."""
        return key in self._asking

    def give_up(self, key: str) -> bool:
        """Ends the wait for an answer, whatever the server says; False when it is there already, or will be in a
        moment."""
        with self._lock:
            if self._asking.pop(key, None) is None:
                return False
            self._given_up.append(key)
            return True

    def settle_left(self, *, taken: bool) -> None:
        """Acknowledges answers to what only an attempt before has asked, also those that are still to come: as taken,
        or as such that reached nobody."""
        with self._lock:
            self._left_are = taken
            left = [one for key, one in self._left.items() if key not in self._asking and self._held.find(key) is None]
            self._left = {}
        for command in left:
            self.take(command)

    def messages(self) -> list[Any]:
        """The messages that have come since the last call; acknowledged by it. Raises RunCancelled where there are
        none any more, since the run was cancelled."""
        with self._lock:
            taken = [*self._messages]
            self._messages.clear()
        if not taken:
            self.check()
        for command in taken:
            self._acknowledge(command)
        return [command.get("content") for command in taken]

    def pause(self) -> Future[Any] | None:
        """Begins the requested pause: a future that ends with it. None when no pause was requested."""
        with self._lock:
            command, self._pause = self._pause, None
            if command is None:
                return None
            future: Future[Any] = Future()
            self._paused.append(future)
        self._acknowledge(command)
        return future

    def forget(self, future: Future[Any]) -> None:
        """Drops the future of a pause that is no longer waited for."""
        with self._lock:
            if future in self._paused:
                self._paused.remove(future)

    def _is_early(self, command: Command) -> bool:
        """Under the lock: whether a command answers what the server has not been asked by this attempt, as far as this
        side knows. It is not looked at: while it holds, it comes with each reply."""
        key, number = str(command.get("question_key")), command.get("command_id")
        asker = self._asking.get(key)
        if asker is None:
            return key not in self._given_up and self._left_are is None
        return asker.above is None or (isinstance(number, int) and number <= asker.above)

    def _answered(self, command: Command) -> None:
        key = str(command.get("question_key"))
        with self._lock:
            asker = self._asking.pop(key, None)
            if asker is not None and asker.holds and not command.get("expired"):
                self._held.hold(key, command, asker.future)
                return
        # The acknowledgement first, so that it precedes whatever the answer leads to.
        is_used = asker is not None or (self._left_are is True and key not in self._given_up)
        self._acknowledge(command if is_used else {**command, "taken": False})
        if asker is not None:  # else it was given up, or is one of an attempt before
            _answer(asker.future, command)

    def _stored(self, command: Command) -> None:
        key = str(command.get("question_key"))
        with self._lock:
            if (asker := self._asking.get(key)) is not None:
                self._asking[key] = asker._replace(above=int(command.get("content") or 0))

    def _withdrawn(self, command: Command) -> None:
        future = self._no_longer_waiting(command)
        if future is not None:
            with contextlib.suppress(InvalidStateError):
                future.set_exception(TimeoutError(NO_ANSWER))

    def _refused(self, command: Command) -> None:
        future = self._no_longer_waiting(command)
        if future is not None:
            with contextlib.suppress(InvalidStateError):
                future.set_exception(QuestionRefused(str(command.get("content"))))

    def _no_longer_waiting(self, command: Command) -> Future[Any] | None:
        """What the asker of a command's question has waited for; None where nobody waits."""
        with self._lock:
            asker = self._asking.pop(str(command.get("question_key")), None)
        return None if asker is None else asker.future

    def _resumed(self, command: Command) -> None:
        with self._lock:
            pending, self._pause = self._pause, None
            paused, self._paused = self._paused, []
        for each in (pending, command):
            if each is not None:
                self._acknowledge(each)
        for future in paused:
            _settle(future, None)

    def _cancellation(self) -> RunCancelled:
        return RunCancelled(self.reason or CANCELLED)

    def _stop_waiting(self) -> list[Future[Any]]:
        """Under the lock: what is waited for, which is forgotten."""
        waiting = [*[asker.future for asker in self._asking.values()], *self._paused]
        self._asking.clear()
        self._paused = []
        return waiting

    def _cancel(self, command: Command) -> None:
        with self._lock:
            self.cancelled = True
            self._unnoticed = command
            content = command.get("content")
            self.reason = str(content) if content else None
            waiting = self._stop_waiting()
            callbacks = [*self._callbacks]
            self._callbacks.clear()
        if waiting or callbacks:
            # They are told at once. Other code learns of it where it looks, and may never look.
            self.notices_cancel()
        for future in waiting:
            with contextlib.suppress(InvalidStateError):
                future.set_exception(self._cancellation())
        for callback in callbacks:
            callback()


def _answer(future: Future[Any], command: Command) -> None:
    """An answer of a person, or the server's word that none has come in time."""
    if not command.get("expired"):
        _settle(future, command.get("content"))
        return
    with contextlib.suppress(InvalidStateError):
        future.set_exception(QuestionExpired(NO_ANSWER))


def _settle(future: Future[Any], value: object) -> None:
    # The waiter may just have given up.
    with contextlib.suppress(InvalidStateError):
        future.set_result(value)
