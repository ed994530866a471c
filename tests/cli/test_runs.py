"""`towerlog runs` against a real server."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator

import pytest

from tests.acceptance.feeds import held_run
from tests.cli.commands import towerlog
from tests.cli.serving import asking, lines, process, told_json
from tests.cli.terminal import seen
from tests.sdk.served import checkpoint, reported, run_id_of, told, unique
from tests.sdk.talker import reply, talking
from tests.support.server import NO_LIMITS, Server
from towerlog.cli import exits
from towerlog.cli.runs import COLUMNS, _closed, _columns, _delivery, _status, _tree, _waits
from towerlog.sdk.api.shapes import ClosedQuestion, DeliveryInfo, RunInfo, TreeTotals

NOBODY = "00000000-0000-7000-8000-000000000000"
EVIL = "wri\x1b[2Jter"
ROW = {
    "run_id": "r",
    "org_id": "o",
    "thread_id": "t",
    "status": "running",
    "created_at": "c",
    "trace_id": "x",
    "last_seq": 3,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "data", NO_LIMITS) as one:
        yield one


def queued(server: Server, thread: str, **members: object) -> str:
    done = server.client().post(f"/v1/threads/{thread}/runs", json=members)
    assert done.status_code == 201, done.text
    return str(done.json()["run_id"])


def untimed(server: Server, *arguments: str) -> list[str]:
    """The lines of a tail without their times."""
    found = [re.fullmatch(r"\d\d:\d\d:\d\d  (.*)", line) for line in lines(server, *arguments)]
    return [line[1] for line in found if line is not None]


def test_runs_are_listed_newest_first_and_filtered(server) -> None:
    thread = unique("thread")
    made = [queued(server, thread, agent=EVIL) for _ in range(3)]
    found = told_json(server, "runs", "ls", "--thread", thread)["data"]
    assert [run["run_id"] for run in found] == made[::-1]
    assert len(told_json(server, "runs", "ls", "--thread", thread, "--limit", "2")["data"]) == 2
    assert told_json(server, "runs", "ls", "--thread", thread, "--status", "failed")["data"] == []
    assert len(told_json(server, "runs", "ls", "--thread", thread, "--since", "1h")["data"]) == 3
    assert told_json(server, "runs", "ls", "--thread", thread, "--until", "1h")["data"] == []
    head, *rows = lines(server, "runs", "ls", "--thread", thread)
    assert head.split()[:3] == ["RUN", "ID", "STATUS"]
    assert [row.split()[:2] for row in rows] == [[run_id, "queued"] for run_id in made[::-1]]
    assert all("wri [2Jter" in row and "\x1b" not in row for row in rows), "it came in without what a terminal obeys"
    assert lines(server, "runs", "ls", "--thread", unique("none")) == ["No runs."]


def test_runs_are_found_by_labels_metadata_and_errors(server) -> None:
    thread = unique("thread")
    tagged = queued(server, thread, metadata={"ticket": "T-1", "tries": 3}, labels={"gpu": "a100"})
    queued(server, thread, metadata={"ticket": "T-2"})

    def found(*options: str) -> list[str]:
        rows = told_json(server, "runs", "ls", "--thread", thread, *options)["data"]
        return [run["run_id"] for run in rows]

    assert found("--metadata", "ticket=T-1") == found("--label", "gpu=a100") == [tagged]
    assert found("--metadata", "ticket=T-1", "--metadata", "tries=3", "--label", "gpu=a100") == [tagged]
    assert found("--metadata", "ticket=T-1", "--metadata", "tries=4") == []
    assert found("--silent") == found("--errors") == []
    assert len(found()) == 2
    refused = asking(server, "runs", "ls", "--label", "gpu")
    assert (refused.exit_code, "NAME=VALUE" in refused.stderr) == (2, True)


def test_more_runs_than_a_page_are_listed(server) -> None:
    thread = unique("thread")
    made = [queued(server, thread) for _ in range(201)]
    found = told_json(server, "runs", "ls", "--thread", thread, "--limit", "1000")["data"]
    assert [run["run_id"] for run in found] == made[::-1]


def test_a_run_is_shown_with_what_is_known_of_it(server) -> None:
    run_id = queued(server, unique("thread"), agent="writer", input="\x9bgo")
    child = queued(server, unique("thread"), parent_run_id=run_id, agent=EVIL)
    shown = "\n".join(lines(server, "runs", "show", run_id))
    for words in (run_id, "queued", "writer", "\\u009bgo", child):
        assert words in shown
    assert not {"\x9b", "\x1b"} & set(shown)
    assert told_json(server, "runs", "show", run_id)["children"][0]["run_id"] == child


def test_a_run_is_shown_with_its_metadata_and_until_when_its_worker_holds_it(server) -> None:
    run_id = held_run(server.client(), unique("thread"), "vm-7", metadata={"ticket": "T-1"})
    shown = {line.split("  ")[0]: line for line in lines(server, "runs", "show", run_id, "--utc")}
    until = server.client().get(f"/v1/runs/{run_id}").json()["lane"]["lease_expires_at"]
    assert shown["worker"].endswith(f"vm-7, its lease ends {until}")
    assert '{"ticket":"T-1"}' in shown["metadata"].replace(" ", "")


def test_labels_of_a_run_are_shown_as_they_are_asked_for(server) -> None:
    thread, labels = unique("thread"), {"team": "search", "gpu": "a100"}
    run_id = queued(server, thread, metadata={"labels": labels, "ticket": "T-1"})
    other = queued(server, thread, metadata={"labels": {"team": 1}})
    shown = [re.split(r"  +", line, maxsplit=1) for line in lines(server, "runs", "show", run_id)]
    assert ["labels", "team=search gpu=a100"] in shown
    assert [words for name, words in shown if name == "metadata"] == ['{"ticket": "T-1"}']
    found = told_json(server, "runs", "ls", "--thread", thread, "--label", "team=search")["data"]
    assert [run["run_id"] for run in found] == [run_id]
    assert "labels  " not in "\n".join(lines(server, "runs", "show", other))


def test_what_the_runs_below_have_spent_is_shown_beside_the_runs_own(server) -> None:
    name = unique("told")
    told(server, "run_start", name)
    told(server, "run_end", name, prompt_tokens=1000, completion_tokens=5, cost_usd=0.5)
    run_id = run_id_of(server, name)
    assert "below it" not in "\n".join(lines(server, "runs", "show", run_id))
    for _ in range(2):
        queued(server, unique("thread"), parent_run_id=run_id)
    shown = [re.split(r"  +", line, maxsplit=1) for line in lines(server, "runs", "show", run_id)]
    assert ["in all", "this run and 2 runs below it, 1,000 in, 5 out, $0.5000"] in shown


def test_the_way_through_a_tree_is_told(server) -> None:
    """Up from a run that stands below another, and down from one whose own events say nothing of its children."""
    name = unique("told")
    told(server, "run_start", name)
    run_id = run_id_of(server, name)
    child = queued(server, unique("thread"), parent_run_id=run_id)
    told(server, "run_end", name)
    shown = [re.split(r"  +", line, maxsplit=1) for line in lines(server, "runs", "show", child)]
    assert ["run above", run_id] in shown
    assert "run above" not in "\n".join(lines(server, "runs", "show", run_id))
    done = asking(server, "runs", "tail", run_id, "--no-children")
    assert done.stderr == f"1 run below it not shown: `towerlog runs show {run_id}` lists it\n"
    assert child not in done.stdout


def test_delivery_cancel_and_liveness_are_shown_when_they_are_known() -> None:
    client = {"client_id": "c", "received": 3, "highest": 9, "missing": [[2, 4], [6, 6]], "dropped": 17}
    known = {
        **ROW,
        "delivery": {"complete": False, "clients": [client]},
        "cancel": {"requested_at": "1", "delivered_at": "2", "acknowledged_at": None},
        "liveness": {"verdict": "stalled", "process_at": "4", "progress_at": "3", "output_at": None},
    }
    with talking(reply(200, json.dumps(known).encode())) as talker:
        done = towerlog("runs", "show", NOBODY, TOWERLOG_URL=talker.url, TOWERLOG_API_KEY="k")
    assert "running (stalled)" in done.stdout
    assert "missing 2–4, 6–6; 17 dropped by the sender" in done.stdout
    shown = dict(re.split(r"  +", line, maxsplit=1) for line in done.stdout.splitlines())
    assert (shown["cancel requested"], shown["cancel delivered"]) == ("1", "2")
    assert "cancel acknowledged" not in shown
    assert (shown["last sign of life"], shown["last progress"]) == ("4", "3")


def test_an_unknown_delivery_is_not_called_complete() -> None:
    assert _delivery(DeliveryInfo.read({"complete": None, "clients": []})) is None
    assert _delivery(DeliveryInfo.read({"complete": True, "clients": []})) == "complete"
    assert _delivery(DeliveryInfo.read({"complete": False, "clients": []})) == "incomplete"
    assert _status(RunInfo.read({**ROW, "liveness": {"verdict": "alive"}})) == "running"


def test_a_run_is_cancelled_answered_and_the_refusals_have_words(server) -> None:
    run_id = queued(server, unique("thread"))
    assert told_json(server, "runs", "cancel", run_id, "--reason", "enough") == {"ok": True, "run_id": run_id}
    assert told_json(server, "runs", "show", run_id)["status"] == "cancelled"
    again = queued(server, unique("thread"))
    assert lines(server, "runs", "cancel", again) == [f"Cancel requested. Follow it with `towerlog runs show {again}`."]
    done = asking(server, "runs", "input", run_id, "late")
    assert (done.exit_code, done.stdout) == (exits.FOUND_WRONG, "")
    assert "cancelled" in done.stderr
    assert asking(server, "runs", "show", NOBODY).exit_code == exits.FOUND_WRONG
    assert asking(server, "runs", "ls", TOWERLOG_API_KEY="wrong").exit_code == exits.NO_PERMISSION
    assert asking(server, "runs", "ls", "--status", "nonsense").exit_code == exits.USAGE


def test_the_reason_of_a_cancel_reaches_the_agent_and_the_reader(server) -> None:
    name = unique("told")
    told(server, "run_start", name)
    run_id = run_id_of(server, name)
    assert asking(server, "runs", "cancel", run_id, "--reason", "too dear").exit_code == 0
    event = {"event_type": "step", "sdk_run_id": name, "payload": {}}
    [command] = server.client().post("/api/ingest", json=event).json()["commands"]
    assert (command["type"], command["content"]) == ("cancel", "too dear")
    shown = [line.split() for line in lines(server, "runs", "show", run_id)]
    assert ["cancel", "reason", "too", "dear"] in shown
    told(server, "run_end", name)
    whole = untimed(server, "runs", "tail", run_id)
    assert "[run.cancel_requested] too dear" in whole
    assert untimed(server, "runs", "tail", run_id, "--tail", "1") == whole[-1:], "only the newest"
    assert untimed(server, "runs", "tail", run_id, "--tail", "1000") == whole


def test_a_run_is_created_forked_and_its_checkpoints_are_listed(server) -> None:
    thread, trace = unique("thread"), unique("trace")
    made = told_json(server, "runs", "create", thread, "--input", "go", "--agent", "a", "--label", "gpu=1")["run_id"]
    queue = told_json(server, "queue", "ls", "--state", "queued")["data"]
    assert [lane["labels"] for lane in queue if lane["run_id"] == made] == [{"gpu": "1"}]
    child = asking(server, "runs", "create", thread, "--input-json", '{"a": 1}', "--parent", made)
    assert child.stdout.startswith("Queued run ")
    assert asking(server, "runs", "create", thread, "--input-json", "[1]").exit_code == exits.USAGE
    assert asking(server, "runs", "create", thread, "--label", "gpu").exit_code == exits.USAGE
    slashed = asking(server, "runs", "create", "feature/login")
    assert slashed.exit_code == exits.USAGE
    assert "a thread's name has no '/'" in slashed.stderr
    assert asking(server, "runs", "ls", "--since", "yesterday").exit_code == exits.USAGE
    checkpoint(server, thread + "-c", trace, "completed", 3)
    [run] = told_json(server, "runs", "ls", "--thread", thread + "-c")["data"]
    head, row = lines(server, "runs", "checkpoints", run["run_id"])
    assert head.split()[0] == "STEP"
    assert row.split()[0] == "3"
    forked = told_json(server, "runs", "fork", run["run_id"], "3")
    assert forked["forked_from"] == {"run_id": run["run_id"], "step_index": 3}
    assert asking(server, "runs", "fork", run["run_id"], "4").exit_code == exits.FOUND_WRONG


def test_a_run_is_paused_resumed_and_killed(server) -> None:
    name = unique("told")
    told(server, "run_start", name)
    run_id = run_id_of(server, name)
    assert lines(server, "runs", "pause", run_id, "--reason", "lunch") == [f"Pause requested. Run {run_id} is running."]
    told(server, "step", name)
    assert told_json(server, "runs", "resume", run_id)["status"] == "running"
    idle = [f"Nothing to do: run {run_id} is not paused; it is running."]
    assert lines(server, "runs", "resume", run_id) == idle
    assert lines(server, "runs", "kill", run_id) == [f"Run {run_id} was ended; its status is cancelled."]
    assert told_json(server, "runs", "kill", run_id, "--reason", "again")["forced"] is True
    assert untimed(server, "runs", "tail", run_id) == [
        "[run.started]",
        "[run.pause_requested] lunch",
        "[step]",
        "[command.delivered] pause",
        "[run.resume_requested]",
        "[run.cancelled] forced: killed",
    ]
    assert asking(server, "runs", "pause", run_id).exit_code == exits.FOUND_WRONG
    assert asking(server, "runs", "kill", NOBODY).exit_code == exits.FOUND_WRONG


def test_input_is_taken_from_the_line_or_from_standard_input(server) -> None:
    name = unique("told")
    told(server, "run_start", name)
    run_id = run_id_of(server, name)
    assert told_json(server, "runs", "message", run_id, "one")["ok"] is True
    sent = asking(server, "runs", "message", run_id, "-", stdin="two\nlines")
    assert (sent.exit_code, sent.stdout) == (0, f"Message sent to run {run_id}.\n")
    told(server, "human_input_requested", name)
    for verb in ("answer", "input"):
        sent = asking(server, "runs", verb, run_id, "-", stdin="three\n")
        if verb == "answer":
            assert sent.exit_code == 0
            assert sent.stdout.startswith(f"Answer sent to run {run_id}, to question ")
    assert sent.exit_code == exits.FOUND_WRONG, "it is answered"
    assert "the first answer counts" in sent.stderr
    told_types = "run.message,run.input"
    events = server.client().get(f"/api/v1/runs/{run_id}/events?type={told_types}").json()["data"]
    assert [event["data"]["content"] for event in events] == ["one", "two\nlines", "three\n"]


def test_what_reached_the_run_that_goes_on_is_said(server) -> None:
    """A runner that began anew under another trace."""
    thread = unique("anew")
    for trace in ("a", "b"):
        place = {"thread_id": thread, "trace_id": thread + trace, "agent_id": "writer"}
        told_start = {"events": [{"type": "thread_started", "data": place}]}
        assert server.client().post("/v1/runners/events", json=told_start).status_code == 200
    rows = server.client().get(f"/api/v1/runs?thread_id={thread}").json()["data"]
    old = next(row["run_id"] for row in rows if row["resumed_from"] is None)
    new = next(row["run_id"] for row in rows if row["resumed_from"] == old)
    goes_on = "which goes on from this one: its runner began anew"
    sent = asking(server, "runs", "message", old, "hello")
    assert (sent.exit_code, sent.stdout) == (0, f"Message sent to run {new}, {goes_on}.\n")
    assert told_json(server, "runs", "message", old, "again")["resumed_by"] == new
    for verb in ("pause", "cancel"):
        asked = asking(server, "runs", verb, old)
        assert (asked.exit_code, asked.stderr) == (0, f"The same was asked of run {new}, {goes_on}\n")
    assert new in asking(server, "runs", "show", old).stdout


def test_an_answer_never_becomes_a_message(server) -> None:
    name = unique("told")
    told(server, "run_start", name)
    run_id = run_id_of(server, name)
    sent = asking(server, "runs", "answer", run_id, "yes")
    assert sent.exit_code == exits.FOUND_WRONG
    assert "is not asking anything" in sent.stderr
    assert "towerlog runs message" in sent.stderr


def test_an_answer_is_told_with_its_question_and_never_reaches_the_next(server) -> None:
    name = unique("told")
    told(server, "run_start", name)
    run_id = run_id_of(server, name)
    told(server, "human_input_requested", name, question="Delete TEST?")
    first = asking(server, "runs", "answer", run_id, "yes")
    assert (first.exit_code, first.stdout) == (0, f"Answer sent to run {run_id}, to question 2: Delete TEST?\n")
    told(server, "human_input_requested", name, question="Delete PROD?")
    second = asking(server, "runs", "answer", run_id, "yes")
    assert second.exit_code == exits.FOUND_WRONG
    assert "Question 2 was answered by admin at" in second.stderr
    [asked] = told_json(server, "runs", "show", run_id)["questions"]
    assert f"asked question {asked['question_id']} since" in second.stderr
    named = told_json(server, "runs", "answer", run_id, "no", "--question", str(asked["question_id"]))
    assert named == {"ok": True, "run_id": run_id, "question_id": asked["question_id"]}


def test_of_several_questions_an_answer_names_one(server) -> None:
    key = unique("key")
    told_ones = [("run.started", {})]
    told_ones += [
        ("run.waiting_for_input", {"question": one, "question_key": one.replace(" ", "-")})
        for one in ("Delete the test database?", "Delete the real one?")
    ]
    events = [
        {"event_id": f"{key}-{seq}", "client_seq": seq, "run_key": key, "type": type_, "data": data}
        for seq, (type_, data) in enumerate(told_ones, 1)
    ]
    sent = server.client().post("/api/v1/events", json={"client_id": key, "events": events})
    run_id = str(sent.json()["results"][0]["run_id"])
    unnamed = asking(server, "runs", "answer", run_id, "yes")
    assert unnamed.exit_code == exits.USAGE
    assert "--question ID.\n  2  Delete the test database?\n  3  Delete the real one?\n" in unnamed.stderr
    first = asking(server, "runs", "answer", run_id, "yes", "--question", "2")
    assert first.exit_code == 0
    assert first.stdout == f"Answer sent to run {run_id}, to question 2: Delete the test database?\n"
    assert first.stderr == "Question 3 is still open: Delete the real one?\n"
    taken = asking(server, "runs", "answer", run_id, "no", "--question", "2")
    assert taken.exit_code == exits.FOUND_WRONG
    assert "Question 2 was answered by" in taken.stderr
    assert "was answered by admin at" in taken.stderr
    assert "(409" not in taken.stderr
    assert "answered_by_user_id" not in taken.stderr, "that is for programs"
    fields = dict(re.split(r"  +", line, maxsplit=1) for line in lines(server, "runs", "show", run_id) if "  " in line)
    assert re.fullmatch(r"answered by admin at \S+Z; its agent has not taken the answer yet", fields["question 2"]), (
        fields
    )
    assert fields["question 3"] == "Delete the real one?"
    steering = server.client().post("/api/v1/keys", json={"name": "steers", "scopes": ["control"]}).json()["key"]
    blind = asking(server, "runs", "answer", run_id, "no", TOWERLOG_API_KEY=steering)
    assert (blind.exit_code, blind.stdout) == (0, f"Answer sent to run {run_id}.\n")
    assert untimed(server, "runs", "tail", run_id, "--until-question")[-1] == (
        "[run.waiting_for_input] Delete the test database? (question 2)"
    )


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"state": "answered", "answered_by": "Ada", "taken_at": "now"}, "answered by Ada at then"),
        ({"state": "answered"}, "answered at then; its agent has not taken the answer yet"),
        ({"state": "expired"}, "expired at then: nobody had answered"),
        ({"state": "withdrawn"}, "withdrawn at then"),
        ({"state": "withdrawn", "answered_by": "Ada"}, "withdrawn at then; the answer by Ada reached nobody"),
    ],
)
def test_what_became_of_a_question_is_told_in_words(members: dict[str, str], words: str) -> None:
    one = ClosedQuestion.read({"question_id": 2, "closed_at": "then", **members})
    assert _closed(one, lambda text: text) == words


def test_times_of_a_run_are_those_of_this_machine_on_a_terminal(server) -> None:
    run_id = queued(server, unique("thread"))
    whole = next(line for line in lines(server, "runs", "show", run_id) if line.startswith("created"))
    assert re.fullmatch(r"created +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", whole)
    local = next(line for line in seen(server, 80, "runs", "show", run_id) if line.startswith("created"))
    assert re.fullmatch(r"created +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", local)
    utc = next(line for line in seen(server, 80, "runs", "show", run_id, "--utc") if line.startswith("created"))
    assert utc.replace(" ", "") == whole.replace(" ", "").replace("T", "")


def test_a_run_that_waits_for_its_thread_says_so(server) -> None:
    thread = unique("thread")
    first, second = queued(server, thread), queued(server, thread)
    assert "earlier runs" not in "\n".join(lines(server, "runs", "show", first))
    assert "waits for  the earlier runs of its thread" in lines(server, "runs", "show", second)
    assert lines(server, "queue", "ls")[-1] == "A blocked run waits until the earlier runs of its thread have ended."
    assert "last sign of life" not in "\n".join(lines(server, "runs", "show", first)), "nobody runs it"


def test_the_queue_and_the_workers_are_listed_up_to_a_limit(server) -> None:
    thread = unique("thread")
    for _ in range(3):
        queued(server, thread)
    table = lines(server, "queue", "ls", "--limit", "2")
    _, *rows = table
    assert sum(not row.endswith(".") for row in rows) == 2
    whole = json.loads("\n".join(lines(server, "queue", "ls", "--limit", "2", "--json")))
    assert len(whole["data"]) == 2
    assert whole["queued"] >= 1, "how many there are is told all the same"
    assert lines(server, "workers", "ls", "--limit", "5000") != []


def test_a_run_that_nobody_serves_says_so() -> None:
    lane = {"state": "queued", "worker_id": None, "lease_epoch": 0}
    row = {**ROW, "status": "queued", "agent": "nobody", "lane": lane}
    assert _waits(RunInfo.read({**row, "unserved": True})) == "a worker: none serves nobody (towerlog workers)"
    assert _waits(RunInfo.read({**row, "unserved": False})) is None
    busy = RunInfo.read({**row, "unserved": False, "busy_worker": "vm-1"})
    assert _waits(busy) == "a worker: the one that serves it is busy (vm-1)"


def test_a_sum_says_that_calls_without_a_price_are_left_out() -> None:
    tree = {"runs": 2, "total_cost_usd": 0.0035, "unpriced_calls": 1, "complete": True}
    assert _tree(TreeTotals.read(tree)) == "this run and 1 run below it, $0.0035+"
    assert _tree(TreeTotals.read({**tree, "total_cost_usd": None})) == "this run and 1 run below it, unpriced"


def test_a_retry_is_shown_once_as_what_it_is(server) -> None:
    first = queued(server, unique("thread"), input="go")
    server.client().post(f"/v1/runs/{first}:cancel", json={}).raise_for_status()
    again = server.client().post(f"/api/v1/runs/{first}:retry", json={}).json()["run_id"]
    shown = "\n".join(lines(server, "runs", "show", again))
    assert "retry of" in shown
    assert "resumed from" not in shown


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud83d"}', "[1]", "{"])
def test_an_input_that_cannot_be_sent_is_refused_in_words(text: str) -> None:
    done = towerlog("runs", "retry", NOBODY, "--input-json", text, TOWERLOG_API_KEY="k")
    assert (done.exit_code, "Invalid value for '--input-json'" in done.stderr) == (2, True), done.output


def test_a_retry_is_asked_for_as_agreed() -> None:
    made = json.dumps({**ROW, "run_id": "again"}).encode()
    with talking(reply(201, made), reply(201, made)) as talker:
        env = {"TOWERLOG_URL": talker.url, "TOWERLOG_API_KEY": "k"}
        said = "Queued run again.\nA worker that serves its agent takes it: see `towerlog workers`.\n"
        assert towerlog("runs", "retry", NOBODY, **env).stdout == said
        assert json.loads(towerlog("runs", "retry", NOBODY, "--json", **env).stdout)["run_id"] == "again"
        assert talker.requests[0][0].startswith(f"POST /api/v1/runs/{NOBODY}:retry ")


def test_a_finished_run_is_told_to_its_end(server) -> None:
    name = unique("told")
    told(server, "run_start", name)
    told(server, "tool_call", name, tool_name="ls", phase="end", output_preview="x")
    told(server, "run_end", name)
    run_id = run_id_of(server, name)
    assert untimed(server, "runs", "tail", run_id) == ["[run.started]", "[tool.result] ls ok → x", "[run.completed]"]
    assert untimed(server, "runs", "tail", run_id, "--after-seq", "2") == ["[run.completed]"]
    told_lines = [json.loads(line) for line in lines(server, "runs", "tail", run_id, "--json")]
    assert [event["seq"] for event in told_lines] == [1, 2, 3]
    assert asking(server, "runs", "tail", NOBODY).exit_code == exits.FOUND_WRONG


def test_a_tail_survives_the_servers_death_without_a_gap_or_a_repetition(tmp_path) -> None:
    server = Server(tmp_path / "data", NO_LIMITS)
    try:
        server.start()
        name = unique("told")
        told(server, "run_start", name)
        tail = process(server, "runs", "tail", run_id_of(server, name), "--json")
        assert tail.stdout is not None
        seen = [json.loads(tail.stdout.readline())["seq"]]
        for _ in range(2):
            told(server, "step", name)
            seen.append(json.loads(tail.stdout.readline())["seq"])
            server.kill()
            server.start()
        told(server, "run_end", name)
        rest, said = tail.communicate(timeout=30)
        seen += [json.loads(line)["seq"] for line in rest.splitlines()]
        assert seen == [1, 2, 3, 4]
        assert (tail.returncode, said) == (0, "")
    finally:
        server.close()


def test_a_tail_is_ended_quietly_by_its_reader(server) -> None:
    name = unique("told")
    told(server, "run_start", name)
    tail = process(server, "runs", "tail", run_id_of(server, name))
    assert tail.stdout is not None
    assert tail.stdout.readline().endswith("  [run.started]\n")
    tail.send_signal(signal.SIGINT)
    _, said = tail.communicate(timeout=30)
    assert (tail.returncode, said) == (130, "")


def test_reported_runs_can_be_listed_by_their_end(server) -> None:
    run_id = run_id_of(server, reported(server))
    assert run_id in [run["run_id"] for run in told_json(server, "runs", "ls", "--status", "completed")["data"]]


def test_what_a_filter_says_of_all_rows_goes_first_where_there_is_little_room() -> None:
    told = {column.title: column.rank for column in _columns({"thread_id": "tour", "agent": None})}
    assert max(told, key=lambda title: told[title]) == "THREAD"
    assert _columns({"thread_id": None, "agent": None}) == list(COLUMNS)
