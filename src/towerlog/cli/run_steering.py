"""The commands of `towerlog runs` that change something: create, answer, pause, cancel, retry and fork runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal, NoReturn

import click

from towerlog.cli.connect import with_client
from towerlog.cli.output import answer, note, say
from towerlog.cli.run_ids import full_run_id, with_run
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.shapes import Question, RunInfo
from towerlog.sdk.wire.errors import ApiError

FORBIDDEN = 403
DEFAULT = "default"
"""The agent of a run that is created without one."""
GOES_ON = "which goes on from this one: its runner began anew"
REASON_HELP = "Why; recorded in the log, where the agent and every reader see it."


def _pairs(_context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """`K=V` each."""
    pairs: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"is K=V, not {text!r}", param=option)
        pairs[name] = value
    return pairs


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _object(_context: click.Context, option: click.Parameter, text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(text, parse_constant=_no_number)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()  # 1e999, half an emoji
    except ValueError as error:
        raise click.BadParameter(f"is not JSON: {error}", param=option) from None
    if not isinstance(found, dict):
        raise click.BadParameter("must be a JSON object", param=option)
    return found


def _thread(_context: click.Context, _argument: click.Parameter, given: str) -> str:
    """A thread's name, which is a part of a path."""
    if "/" in given:
        raise click.BadParameter(f"a thread's name has no '/', and this one has: {given!r}")
    return given


def _text(given: str) -> str:
    return sys.stdin.read() if given == "-" else given


def _with_input(command: Callable[..., None]) -> Callable[..., None]:
    """The options for what a new run is asked, of which one may be given."""
    command = click.option("--input-json", callback=_object, help="The input, as a JSON object.")(command)
    return click.option("--input", "text", help="The input, as text; - reads standard input.")(command)


def _asked(text: str | None, input_json: dict[str, Any] | None) -> str | dict[str, Any] | None:
    if text is not None and input_json is not None:
        raise click.UsageError("Give either --input or --input-json.")
    return input_json if text is None else _text(text)


@click.command("create")
@with_client
@click.argument("thread_id", metavar="THREAD", callback=_thread)
@click.option("--agent", help="The agent to run; default: the one called `default`.")
@_with_input
@click.option("--persona", "persona_id", help="A persona, KEY or KEY@VERSION.")
@click.option("--route", "route_id", help="A route to a model.")
@click.option("--parent", "parent", help="The parent run; cancelling it cancels this one.")
@click.option("--id", "only_id", is_flag=True, help="Print only the run's id, for a script.")
@click.option(
    "--label", "labels", multiple=True, metavar="K=V", callback=_pairs, help="Only for workers with this label."
)
def create_run(
    client: Client,
    as_json: bool,
    thread_id: str,
    text: str | None,
    input_json: dict[str, Any] | None,
    parent: str | None,
    labels: dict[str, str],
    only_id: bool,
    **members: Any,
) -> None:
    """Queues a run in a thread, for a worker to claim. The thread is created if needed."""
    sent = _asked(text, input_json)
    parent_run_id = full_run_id(client, parent) if parent else None
    made = client.create_run(thread_id, input=sent, parent_run_id=parent_run_id, labels=labels or None, **members)
    # A persona names its agent, which only the server knows.
    whose = f"persona {members['persona_id']}" if members["persona_id"] else f"agent '{members['agent'] or DEFAULT}'"
    words = f"Queued run {made.run_id} for {whose}. Follow it with `towerlog runs tail {made.run_id}`."
    words = made.run_id if only_id else words
    answer(as_json, dict(made.raw), lambda: say(words))


@click.command("answer")
@with_run
@click.argument("text")
@click.option(
    "--question", "question_id", type=int, metavar="ID", help="The question to answer; needed where several are open."
)
def answer_run(client: Client, run_id: str, text: str, question_id: int | None, as_json: bool) -> None:
    """Answers a question of a run. TEXT - reads standard input.

    Without --question, an answer that comes within five seconds of another one to the run reaches no question that was
    asked in between.
    """
    content, run = _text(text), _readable(client, run_id)
    open_ones = () if run is None else run.questions
    if question_id is None and len(open_ones) > 1:
        raise click.UsageError(_several(run_id, open_ones))
    # No id that was only just looked up: whoever answers has read what was open before.
    client.give_input(run_id, content, question_id=question_id, kind="input")
    answered = question_id if run is None or question_id else _answered_since(client, run_id, run.last_seq, content)
    words = "".join(f": {one.question or ''}" for one in open_ones if one.question_id == answered)
    named = "." if answered is None else f", to question {answered}{words}"
    members = {} if answered is None else {"question_id": answered}
    answer(as_json, {"ok": True, "run_id": run_id, **members}, lambda: say(f"Answer sent to run {run_id}{named}"))
    for one in open_ones:
        if one.question_id != answered and not as_json:
            note(f"Question {one.question_id} is still open: {one.question or ''}")


def _several(run_id: str, open_ones: Sequence[Question]) -> str:
    listed = "\n".join(f"  {one.question_id}  {one.question or ''}" for one in open_ones)
    return f"Run {run_id} has several open questions: say which one you answer with --question ID.\n{listed}"


def _answered_since(client: Client, run_id: str, seq: int, content: str) -> int | None:
    """The question that an answer in these words has reached since this event."""
    answers = client.list_events(run_id, seq, types=["run.input"])
    return next((one.data.get("question_id") for one in answers if one.data.get("content") == content), None)


def _readable(client: Client, run_id: str) -> RunInfo | None:
    """The run as it is; None where the key may steer runs and not read them."""
    try:
        return client.get_run(run_id, with_children=False)
    except ApiError as error:
        if error.status != FORBIDDEN:
            raise
        return None


@click.command("message")
@with_run
@click.argument("text")
def message_run(client: Client, run_id: str, text: str, as_json: bool) -> None:
    """Sends a message to a running run. It answers no question. TEXT - reads standard input."""
    later = client.give_input(run_id, _text(text), kind="message")
    words = f"Message sent to run {run_id}." if later is None else f"Message sent to run {later}, {GOES_ON}."
    answer(as_json, {"ok": True, "run_id": run_id, **_member(later)}, lambda: say(words))


@click.command("cancel")
@with_run
@click.option("--reason", help=REASON_HELP)
def cancel_run(client: Client, run_id: str, reason: str | None, as_json: bool) -> None:
    """Requests cancellation of a run and of the runs below it."""
    later = client.cancel_run(run_id, reason)
    words = f"Cancel requested. Follow it with `towerlog runs show {later or run_id}`."
    answer(as_json, {"ok": True, "run_id": run_id, **_member(later)}, lambda: say(words))
    _tell_later(later, as_json)


@click.command("pause")
@with_run
@click.option("--reason", help=REASON_HELP)
def pause_run(client: Client, run_id: str, reason: str | None, as_json: bool) -> None:
    """Requests a pause: the run is paused once its agent confirms it."""
    _steer(client, run_id, "pause", reason, as_json)


@click.command("resume")
@with_run
@click.option("--reason", help=REASON_HELP)
def resume_run(client: Client, run_id: str, reason: str | None, as_json: bool) -> None:
    """Asks a paused run to continue."""
    _steer(client, run_id, "resume", reason, as_json)


@click.command("kill")
@with_run
@click.option("--reason", help=REASON_HELP)
def kill_run(client: Client, run_id: str, reason: str | None, as_json: bool) -> None:
    """Ends a run and the runs below it immediately, without waiting for their agents."""
    _steered(client.kill_run(run_id, reason), as_json, "Run {} was ended; its status is {}.")


def _steer(client: Client, run_id: str, action: Literal["pause", "resume"], reason: str | None, as_json: bool) -> None:
    """Asks for a pause or its end, and says whether there was anything to ask for."""
    before = _readable(client, run_id)
    run = client.pause_run(run_id, reason) if action == "pause" else client.resume_run(run_id, reason)
    if before is None or any(client.list_events(run_id, before.last_seq, types=[f"run.{action}_requested"])):
        words = f"{action.capitalize()} requested. Run {{}} is {{}}."
    elif action == "pause":
        words = "Nothing to do: run {} is paused already, or a pause was requested before."
    else:
        words = "Nothing to do: run {} is not paused; it is {}."
    _steered(run, as_json, words)


def _steered(run: RunInfo, as_json: bool, words: str) -> None:
    answer(as_json, dict(run.raw), lambda: say(words.format(run.run_id, run.status)))
    _tell_later(run.resumed_by, as_json)


def _member(later: str | None) -> dict[str, str]:
    return {} if later is None else {"resumed_by": later}


def _tell_later(later: str | None, as_json: bool) -> None:
    """That another run was asked as well; programs read it in the reply."""
    if later is not None and not as_json:
        note(f"The same was asked of run {later}, {GOES_ON}")


@click.command("retry")
@with_run
@_with_input
def retry_run(client: Client, run_id: str, as_json: bool, text: str | None, input_json: dict[str, Any] | None) -> None:
    """Queues a new run with the thread, agent and input of one that has ended; or with another input."""
    _queued(client.retry_run(run_id, input=_asked(text, input_json)), as_json)


@click.command("fork")
@with_run
@click.argument("step", type=click.IntRange(0))
@click.option("--agent", help="Whose checkpoint, if several agents have one at this step.")
@_with_input
def fork_run(
    client: Client,
    run_id: str,
    step: int,
    agent: str | None,
    as_json: bool,
    text: str | None,
    input_json: dict[str, Any] | None,
) -> None:
    """Queues a new run that starts from a checkpoint of this one. `towerlog runs checkpoints` lists its steps."""
    _queued(client.fork_run(run_id, step, agent, input=_asked(text, input_json)), as_json)


def _queued(run: RunInfo, as_json: bool) -> None:
    agent = run.raw.get("agent")
    words = f"Queued run {run.run_id}.\nA worker that serves {agent or 'its agent'} takes it: see `towerlog workers`."
    answer(as_json, dict(run.raw), lambda: say(words))


COMMANDS = (
    create_run,
    answer_run,
    message_run,
    cancel_run,
    pause_run,
    resume_run,
    kill_run,
    retry_run,
    fork_run,
)
"""For the group `runs`."""
