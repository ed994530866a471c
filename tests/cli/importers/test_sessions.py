"""Sessions that go on, and those that repeat others: figures that can grow are not told, and none counts twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.importers import samples
from tests.cli.importers.samples import at, entry, left, of_model, written
from tests.cli.importers.test_formats import of_type, read
from tests.cli.serving import asking, told_json
from tests.support.server import NO_LIMITS, Server
from towerlog.ambient import SystemClock
from towerlog.cli.importers.files import events_in, format_of
from towerlog.cli.importers.sources import Source

FORK = "0199f2aa-2222-7000-8000-00000000f04c"
OTHER = "5f0c1a52-6c0e-4d0e-9f0a-0d9a7a1f0002"
SMALL = {"input_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 0}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "data", NO_LIMITS) as one:
        yield one


def runs(server: Server) -> dict[str, dict[str, Any]]:
    """All runs by their names in the files."""
    found = server.client().get("/api/v1/runs?limit=100").json()["data"]
    return {row["foreign_id"].partition(":")[2]: row for row in found}


def figures(server: Server) -> list[tuple[int | None, int | None]]:
    """What the runs have used: tokens in and out, the most first."""
    found = [(row["total_input_tokens"], row["total_output_tokens"]) for row in runs(server).values()]
    return sorted(found, key=lambda one: -(one[0] or 0))


def prompt(number: int, text: str, **more: Any) -> dict[str, Any]:
    """What a person says in a session of Claude Code."""
    return entry(number, "user", {"role": "user", "content": text}, **more)


def reply(number: int, message_id: str, text: str, output: int, stop: str | None = "end_turn", **more: Any) -> Any:
    """What the model answers."""
    message = of_model(message_id, {"type": "text", "text": text}, stop_reason=stop)
    return entry(number, "assistant", {**message, "usage": {**SMALL, "output_tokens": output}}, **more)


def line(second: int, kind: str, /, **payload: Any) -> dict[str, Any]:
    """A line of Codex."""
    return {"timestamp": at(second), "type": kind, "payload": payload}


def said(second: int, text: str) -> dict[str, Any]:
    """What a person says in a session of Codex."""
    return line(second, "event_msg", type="user_message", message=text)


def answered(second: int, text: str) -> dict[str, Any]:
    """What its model answers."""
    content = [{"type": "output_text", "text": text}]
    return line(second, "response_item", type="message", role="assistant", content=content)


def used(second: int, total: tuple[int, int], last: tuple[int, int] | None = None) -> dict[str, Any]:
    """Tokens in and out, in all and of the last call."""
    names = ("input_tokens", "output_tokens")
    of_last = {} if last is None else {"last_token_usage": dict(zip(names, last, strict=True))}
    info = {"total_token_usage": dict(zip(names, total, strict=True)), **of_last}
    return line(second, "event_msg", type="token_count", info=info)


def meta(second: int, session: str, **more: Any) -> dict[str, Any]:
    """The head of a session of Codex."""
    return line(second, "session_meta", id=session, timestamp=at(second), cwd="/srv", cli_version="0.145.0", **more)


def repeating() -> list[dict[str, Any]]:
    """A session that was resumed, and whose history was appended to it."""
    again = [{**one, "uuid": f"again-{one['uuid']}", "timestamp": at(7)} for one in two_turns()[:3]]
    own = [prompt(8, "and then?"), reply(9, "m3", "Venice.", 4, requestId="r3")]
    return [*two_turns(), *two_turns()[:3], *again, *own]


@pytest.mark.parametrize("sample", [samples.claude_code, repeating, samples.codex], ids=lambda one: one.__name__)
def test_what_is_told_of_a_part_is_told_the_same_of_the_whole(tmp_path: Path, sample: Any) -> None:
    """Wherever a session is cut: no event has other figures later under the same id."""

    def told(lines: list[Any], *, goes_on: bool) -> dict[tuple[str, str], Any]:
        source = Source(written(tmp_path / "s.jsonl", *lines, goes_on=goes_on), SystemClock().now_ms())
        events = events_in(source, str(format_of(source)), lambda kind: None)
        return {(event.run_key, event.event_id): (event.type, event.time, event.data) for event in events}

    whole = told(sample(), goes_on=False)
    for length in range(1, len(sample())):
        part = told(sample()[:length], goes_on=True)
        for name, event in part.items():
            # An end of a turn that is long ago is taken for that of its session.
            assert event[0] in ("run.paused", "run.completed", "run.failed") or whole[name] == event, length


def test_a_message_that_is_still_written_has_no_figures_until_it_is_whole(server, tmp_path) -> None:
    begun = [prompt(1, "which towers lean?"), reply(2, "m1", "Pi", 1, None)]
    path = written(tmp_path / "s.jsonl", *begun, goes_on=True)
    told = told_json(server, "import", str(path))
    assert (told["model_calls"], told["refused"]) == (0, 0)
    [row] = runs(server).values()
    assert (row["status"], row["ended_at"], row["total_output_tokens"]) == ("paused", None, None)
    call = {"type": "tool_use", "id": "t", "name": "Bash", "input": {}}
    grown = {**of_model("m1", call, stop_reason="tool_use"), "usage": {**SMALL, "output_tokens": 260}}
    path = written(path, *begun, entry(3, "assistant", grown), reply(5, "m2", "Pisa.", 7))
    assert told_json(server, "import", str(path))["refused"] == 0
    [row] = runs(server).values()
    assert figures(server) == [(206, 267)]
    assert (row["status"], row["ended_at"]) == ("completed", at(5))
    assert server.client().get(f"/v1/runs/{row['run_id']}").json()["result"] == "Pisa."


def test_a_session_that_was_left_in_a_message_ends_as_it_stands(server, tmp_path) -> None:
    told_json(server, "import", str(written(tmp_path / "s.jsonl", prompt(1, "which?"), reply(2, "m1", "Pi", 1, None))))
    [row] = runs(server).values()
    assert (row["status"], figures(server)) == ("completed", [(103, 1)])


def test_the_end_of_a_turn_is_the_end_of_a_session_an_hour_later(server, tmp_path) -> None:
    """Though the file is new: it may have been copied."""
    done = written(tmp_path / "s.jsonl", prompt(1, "which?"), reply(2, "m1", "Pisa.", 1), goes_on=True)
    told_json(server, "import", str(done))
    [row] = runs(server).values()
    assert (row["status"], row["ended_at"]) == ("completed", at(2))


@pytest.mark.parametrize("ends", [False, True])
def test_a_codex_session_that_goes_on_has_no_result_yet(server, tmp_path, ends) -> None:
    first = [meta(0, samples.CODEX_SESSION), said(1, "which?"), answered(2, "first"), used(2, (1000, 100), (1000, 100))]
    told_json(server, "import", str(written(tmp_path / "s.jsonl", *first, goes_on=True)))
    [row] = runs(server).values()
    assert (row["status"], row["ended_at"]) == ("paused", None)
    more = [said(9, "and?"), answered(10, "second"), used(10, (3000, 300), (2000, 200))]
    of_turn = [line(11, "event_msg", type="task_complete")] if ends else []
    path = written(tmp_path / "s.jsonl", *first, *more, *of_turn, goes_on=ends)
    assert told_json(server, "import", str(path))["refused"] == 0
    [row] = runs(server).values()
    assert (row["status"], row["ended_at"], figures(server)) == ("completed", at(10), [(3000, 300)])
    assert server.client().get(f"/v1/runs/{row['run_id']}").json()["result"] == "second"


@pytest.mark.parametrize("at_once", [True, False])
def test_a_copied_history_counts_in_its_session_alone(server, tmp_path, at_once) -> None:
    old = [prompt(1, "which?"), reply(2, "m1", "Pisa.", 10)]
    copied = [{**one, "sessionId": OTHER, "forkedFrom": {"sessionId": samples.SESSION}} for one in old]
    own = [prompt(8, "and now?", sessionId=OTHER), reply(9, "m2", "Bologna.", 20, sessionId=OTHER)]
    first = written(tmp_path / "b.jsonl", *old)
    if not at_once:
        told_json(server, "import", str(first))
    second = written(tmp_path / "a.jsonl", *copied, *own)
    os.utime(second, (samples.LONG_AGO_S + 60, samples.LONG_AGO_S + 60))
    done = asking(server, "import", str(first), str(second)) if at_once else asking(server, "import", str(second))
    assert done.exit_code == 0, done.output
    found = runs(server)
    assert sorted(row["total_output_tokens"] for row in found.values()) == [10, 20]
    fork = server.client().get(f"/v1/runs/{found[f'claude-code:{OTHER}']['run_id']}").json()
    assert (fork["input"], fork["metadata"]["forked_from"]) == ("and now?", samples.SESSION)
    for path in (second, first):
        told = told_json(server, "import", str(path))
        assert (told["stored"], told["refused"]) == (0, 0), "known, whatever comes first"


def test_a_message_that_a_sub_agent_repeats_counts_once(server, tmp_path) -> None:
    main = [prompt(1, "which?"), reply(2, "m1", "Pisa.", 10)]
    side = [{**one, "uuid": f"x{one['uuid']}", "isSidechain": True, "agentId": "a1"} for one in main]
    own = reply(9, "m2", "Bologna.", 20, isSidechain=True, agentId="a1")
    folder = tmp_path / "projects"
    written(folder / f"{samples.SESSION}.jsonl", *main)
    written(folder / samples.SESSION / "subagents" / "agent-a1.jsonl", *side, own)
    assert asking(server, "import", str(folder)).exit_code == 0
    assert sorted(row["total_output_tokens"] for row in runs(server).values()) == [10, 20]


@pytest.mark.parametrize("first", ["session", "agents"])
def test_sub_agents_are_found_and_stand_where_they_belong(server, tmp_path, first) -> None:
    """Whatever comes first, in the session's thread, and below the agent whose they are."""
    folder, session = tmp_path / "projects" / "x", samples.SESSION
    written(folder / f"{session}.jsonl", prompt(1, "which?"), reply(2, "m1", "Pisa.", 1))
    of = [{"isSidechain": True, "agentId": name} for name in ("a1", "b2")]
    agents = folder / session / "subagents"
    written(agents / "agent-a1.jsonl", prompt(3, "look", **of[0]), reply(4, "m2", "found", 2, **of[0]))
    written(
        agents / "agent-a1" / "subagents" / "agent-b2.jsonl", prompt(5, "l", **of[1]), reply(6, "m3", "f", 4, **of[1])
    )
    if first == "agents":
        assert asking(server, "import", str(agents)).exit_code == 0
    done = asking(server, "import", str(tmp_path / "projects"))
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 3)
    found = runs(server)
    top, a1, b2 = (found[f"claude-code:{name}"] for name in (session, f"{session}:a1", f"{session}:b2"))
    assert {row["thread_id"] for row in found.values()} == {session}
    assert (a1["parent_run_id"], b2["parent_run_id"]) == (top["run_id"], a1["run_id"])
    assert [row["total_output_tokens"] for row in (top, a1, b2)] == [1, 2, 4]


def test_a_codex_total_that_falls_for_a_moment_moves_nothing(server, tmp_path) -> None:
    totals = [((3000, 300), (3000, 300)), ((2900, 290), (2000, 200)), ((4000, 400), (1000, 100))]
    lines = [used(number, *one) for number, one in enumerate(totals, 2)]
    told_json(
        server, "import", str(written(tmp_path / "s.jsonl", meta(0, samples.CODEX_SESSION), said(1, "q"), *lines))
    )
    assert figures(server) == [(4000, 400)]


def test_codex_totals_that_begin_anew_count_from_there(server, tmp_path) -> None:
    lines = [used(2, (3000, 300), (3000, 300)), used(3, (500, 50), (500, 50)), used(4, (700, 70), (200, 20))]
    told_json(
        server, "import", str(written(tmp_path / "s.jsonl", meta(0, samples.CODEX_SESSION), said(1, "q"), *lines))
    )
    assert figures(server) == [(3700, 370)]


def last_used(second: int, *last: int) -> dict[str, Any]:
    """Tokens in and out of the last call, and no total."""
    info = {"last_token_usage": dict(zip(("input_tokens", "output_tokens"), last, strict=True))}
    return line(second, "event_msg", type="token_count", info=info)


def result(second: int) -> dict[str, Any]:
    """What a tool has put out."""
    return line(second, "response_item", type="function_call_output", call_id="c", output="x")


LAST_CALLS = {
    "two": ([answered(2, "a"), last_used(3, 50, 5), answered(4, "b"), last_used(5, 70, 7)], (120, 12)),
    "two alike": ([answered(2, "a"), last_used(3, 50, 5), answered(4, "b"), last_used(5, 50, 5)], (100, 10)),
    "told again": ([answered(2, "a"), last_used(3, 50, 5), result(4), said(4, "q"), last_used(5, 50, 5)], (50, 5)),
    "without answers": ([last_used(3, 50, 5), last_used(5, 70, 7)], (120, 12)),
    "then totals": ([answered(2, "a"), last_used(3, 50, 5), answered(4, "b"), used(5, (120, 12), (70, 7))], (120, 12)),
    "behind totals": (
        [used(3, (50, 5), (50, 5)), answered(4, "b"), last_used(5, 70, 7), used(6, (130, 13))],
        (130, 13),
    ),
    "beside records": (
        [
            line(3, "token_usage_record", thread_token_usage={"input_tokens": 50, "output_tokens": 5}),
            last_used(3, 50, 5),
        ],
        (50, 5),
    ),
}


@pytest.mark.parametrize(("lines", "expected"), LAST_CALLS.values(), ids=LAST_CALLS)
def test_codex_that_tells_the_last_call_alone_counts_each(
    tmp_path: Path, lines: list[dict[str, Any]], expected: tuple[int, int]
) -> None:
    path = written(tmp_path / "s.jsonl", meta(0, samples.CODEX_SESSION), said(1, "q"), *lines)
    calls = of_type(read(path), "model.call")
    assert tuple(sum(call[name] for call in calls) for name in ("input_tokens", "output_tokens")) == expected


def all_used(server: Server) -> tuple[Any, ...]:
    """The model of the only run, and its input, cached input, cache writes, output and all tokens."""
    [row] = runs(server).values()
    found = server.client().get(f"/api/v1/runs/{row['run_id']}").json()
    names = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "total_tokens")
    return (found["model"], *(found["usage"][name] for name in names))


def test_what_codex_has_used_before_it_names_a_model_is_of_the_first_that_it_names(server, tmp_path) -> None:
    lines = [used(2, (1000, 100), (1000, 100)), line(3, "turn_context", model="gpt-5.1-codex"), used(4, (3000, 300))]
    told_json(
        server, "import", str(written(tmp_path / "s.jsonl", meta(0, samples.CODEX_SESSION), said(1, "q"), *lines))
    )
    day = {"since": f"{at(0)[:10]}T00:00:00Z", "until": f"{at(0)[:10]}T23:00:00Z"}
    cells = server.client().get("/api/v1/usage", params={"by": "model", **day}).json()
    assert {cell["model"] for cell in cells["data"] if cell["usage"]["total_tokens"]} == {"gpt-5.1-codex"}
    assert all_used(server) == ("gpt-5.1-codex", 3000, None, None, 300, 3300)


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside the events"])
def test_a_record_of_usage_of_codex_counts_once(server, tmp_path, beside: bool) -> None:
    names = ("input_tokens", "cached_input_tokens", "cache_write_input_tokens", "output_tokens", "total_tokens")
    lines = [line(1, "turn_context", model="m"), said(1, "q")]
    for number, (whole, last) in enumerate(
        (((1000, 500, 200, 100), (1000, 500, 200, 100)), ((1700, 900, 200, 150), (700, 400, 0, 50)))
    ):
        totals, own = (dict(zip(names, (*one, one[0] + one[3]), strict=True)) for one in (whole, last))
        if beside:
            info = {"total_token_usage": totals, "last_token_usage": own}
            lines.append(line(2 + number, "event_msg", type="token_count", info=info))
        record = {"response_id": f"r{number}", "usage": own, "turn_token_usage": own, "thread_token_usage": totals}
        lines.append(line(2 + number, "token_usage_record", **record))
    told_json(server, "import", str(written(tmp_path / "s.jsonl", meta(0, samples.CODEX_SESSION), *lines)))
    assert all_used(server) == ("m", 600, 900, 200, 150, 1850)


def test_a_codex_session_in_two_files_is_one_run(server, tmp_path) -> None:
    head = meta(0, samples.CODEX_SESSION)
    one = written(tmp_path / "one.jsonl", head, said(1, "which?"), used(2, (1000, 100), (1000, 100)))
    more = [meta(8, samples.CODEX_SESSION), said(8, "and?"), used(9, (1500, 150), (500, 50))]
    done = asking(server, "import", str(one), str(written(tmp_path / "two.jsonl", *more)))
    assert done.exit_code == 0, done.output
    assert figures(server) == [(1500, 150)]
    [row] = runs(server).values()
    assert server.client().get(f"/v1/runs/{row['run_id']}").json()["input"] == "which?"


NAMES = ("input_tokens", "output_tokens", "total_tokens")
TOTALS_IN_ANY_ORDER = (
    "t1 r1 t2 r2 t3 r3",
    "r1 r2 t1 t2 r3 t3",
    "t1 t2 r1 r2",
    "t1 t1 r1 t2 t2 r2",
    "r2 t1 t2",
    "t3 r1 r2 r3",
    "t1 t2 r2",
)


@pytest.mark.parametrize("has_totals", [True, False], ids=["totals", "responses alone"])
@pytest.mark.parametrize("order", TOTALS_IN_ANY_ORDER)
def test_events_and_records_of_codex_tell_the_same_tokens_in_any_order(
    tmp_path: Path, order: str, has_totals: bool
) -> None:
    lines = [meta(0, samples.CODEX_SESSION), said(1, "q")]
    for place, (kind, *digits) in enumerate(order.split()):
        number = int("".join(digits))
        whole, own = (dict(zip(NAMES, (1000 * n, 100 * n, 1100 * n), strict=True)) for n in (number, 1))
        info = {"total_token_usage": whole, "last_token_usage": own}
        record = {"response_id": f"r{number}", "usage": own}
        if has_totals:
            record["thread_token_usage"] = whole
        told = {"token_usage_record": record} if kind == "r" else {"event_msg": {"type": "token_count", "info": info}}
        lines += [{"timestamp": at(2 + place), "type": name, "payload": payload} for name, payload in told.items()]
    calls = of_type(read(written(tmp_path / "s.jsonl", *lines)), "model.call")
    highest = max(int(one[1:]) for one in order.split() if one[0] == "t" or has_totals)
    assert sum(call["output_tokens"] for call in calls) == 100 * highest


@pytest.mark.parametrize("named", ["source", "member"])
@pytest.mark.parametrize("keeps_times", [True, False])
def test_the_history_that_a_sub_agent_of_codex_begins_with_is_its_parents(
    tmp_path: Path, named: str, keeps_times: bool
) -> None:
    parent = [
        meta(0, samples.CODEX_SESSION),
        said(1, "which?"),
        answered(2, "Pisa."),
        used(3, (1000, 100), (1000, 100)),
    ]
    spawned = {"subagent": {"thread_spawn": {"parent_thread_id": samples.CODEX_SESSION, "depth": 1}}}
    of = {"source": spawned} if named == "source" else {"parent_thread_id": samples.CODEX_SESSION}
    copied = [one if keeps_times else {**one, "timestamp": at(20)} for one in parent[1:]]
    own = [said(30, "look"), answered(31, "Bologna."), used(32, (3000, 300), (2000, 200))]
    events = read(written(tmp_path / "child.jsonl", meta(20, FORK, **of), *copied, *own))
    assert [call["output_tokens"] for call in of_type(events, "model.call")] == [200]
    assert of_type(events, "run.started")[0]["input"] == "look"


def through_a_gateway(session: str, requests: list[str | None], tokens: list[int]) -> list[dict[str, Any]]:
    """A session in which each response has the same id, and a person answers each."""
    lines = []
    for place, (request, count) in enumerate(zip(requests, tokens, strict=True)):
        asked = prompt(2 * place, f"q{place}", sessionId=session) | {"uuid": f"{session}-q{place}"}
        answer = reply(2 * place + 1, "same", f"a{place}", 1, sessionId=session) | {"uuid": f"{session}-a{place}"}
        answer["message"]["usage"] = {"input_tokens": count, "output_tokens": 10}
        lines += [asked, answer | ({} if request is None else {"requestId": request})]
    return lines


@pytest.mark.parametrize("requests", [[None] * 3, ["r1", "r2", "r3"]], ids=["without requests", "of several requests"])
def test_responses_that_a_gateway_gives_one_id_are_no_copies(
    server, tmp_path: Path, requests: list[str | None]
) -> None:
    for session in (samples.SESSION, OTHER):
        named = [None if one is None else f"{session}-{one}" for one in requests]
        path = written(tmp_path / f"{session}.jsonl", *through_a_gateway(session, named, [1000, 1000, 2000]))
        assert told_json(server, "import", str(path))["skipped"] == {}
    assert figures(server) == [(4000, 30), (4000, 30)]


def test_parts_of_one_response_count_once_though_its_tools_answer_between(tmp_path: Path) -> None:
    parts = [reply(2 + 2 * place, "m1", "", output) for place, output in enumerate((1, 50, 100))]
    for place, one in enumerate(parts):
        call = {"type": "tool_use", "id": f"t{place}", "name": "ls", "input": {}}
        one["uuid"], one["message"] = f"p{place}", one["message"] | {"content": [call], "stop_reason": "tool_use"}
    results = [
        prompt(3 + 2 * place, [{"type": "tool_result", "tool_use_id": f"t{place}", "content": "x"}]) for place in (0, 1)
    ]
    lines = [prompt(1, "q"), parts[0], results[0], parts[1], results[1], parts[2]]
    calls = of_type(read(written(tmp_path / "s.jsonl", *lines)), "model.call")
    assert [call["output_tokens"] for call in calls] == [100]
    later = reply(9, "m1", "more", 7)
    later["uuid"], later["message"]["usage"] = "p9", {"input_tokens": 999, "output_tokens": 7}
    calls = of_type(
        read(written(tmp_path / "t.jsonl", *lines, prompt(8, results[1]["message"]["content"]), later)), "model.call"
    )
    assert [call["output_tokens"] for call in calls] == [100, 7]


def two_turns() -> list[dict[str, Any]]:
    """A prompt, a response in two parts whose usage grows, and its answer; then another turn."""
    parts = [reply(2, "m1", "Pi", 1, None, requestId="r1"), reply(3, "m1", "Pisa.", 50, requestId="r1")]
    return [prompt(1, "which?"), *parts, prompt(4, "and?"), reply(5, "m2", "Bologna.", 7, requestId="r2")]


REWRITTEN: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "to the letter": lambda one: one,
    "elsewhere": lambda one: {**one, "cwd": "/srv/elsewhere", "version": "2.1.0"},
    "under other names": lambda one: {**one, "uuid": f"again-{one['uuid']}"},
    "under other names at another time": lambda one: {**one, "uuid": f"again-{one['uuid']}", "timestamp": at(30)},
    "without a name": lambda one: {name: value for name, value in one.items() if name != "uuid"},
}


@pytest.mark.parametrize("length", [2, 3, 5], ids=lambda one: f"the first {one} lines")
@pytest.mark.parametrize("rewritten", REWRITTEN.values(), ids=REWRITTEN)
def test_what_a_file_repeats_of_itself_counts_once(
    tmp_path: Path, rewritten: Callable[[dict[str, Any]], dict[str, Any]], length: int
) -> None:
    """As a program writes it that appends the history when it resumes a session."""
    lines = two_turns()
    own = [prompt(8, "and then?"), reply(9, "m3", "Venice.", 4, requestId="r3")]
    for repeats in (1, 3):
        again = [rewritten(one) for one in lines[:length]] * repeats
        calls = of_type(read(written(tmp_path / "s.jsonl", *lines, *again, *own)), "model.call")
        assert [call["output_tokens"] for call in calls] == [50, 7, 4]


def test_a_session_ends_with_what_it_said_last_and_not_with_what_it_repeats(tmp_path: Path) -> None:
    lines, skipped = two_turns(), list[str]()
    source = Source(written(tmp_path / "s.jsonl", *lines, *lines[:3]), SystemClock().now_ms())
    events = list(events_in(source, str(format_of(source)), skipped.append))
    assert of_type(events, "run.completed") == [{"result": "Bologna."}]
    assert [call["content"] for call in of_type(events, "message.delta")] == ["Pi", "Pisa.", "Bologna."]
    assert skipped == ["written again"] * 3


def test_an_entry_that_is_written_again_with_more_output_has_grown(tmp_path: Path) -> None:
    begun, grown = reply(2, "m1", "Pi", 1, None), reply(2, "m1", "Pisa.", 50)
    for between in ([], [prompt(3, "go on")]):
        calls = of_type(read(written(tmp_path / "s.jsonl", prompt(1, "which?"), begun, *between, grown)), "model.call")
        assert [call["output_tokens"] for call in calls] == [50]


def test_requests_that_a_gateway_names_alike_count_each(tmp_path: Path) -> None:
    lines = through_a_gateway(samples.SESSION, ["r", "r", "r"], [1000, 2000, 3000])
    assert len(of_type(read(written(tmp_path / "s.jsonl", *lines)), "model.call")) == 3


@pytest.mark.parametrize("in_one_go", [False, True], ids=["prompt later", "prompt in the same moment"])
def test_a_fork_of_codex_has_what_it_has_used_itself(server, tmp_path, in_one_go) -> None:
    parent = [
        meta(0, samples.CODEX_SESSION),
        said(1, "which?"),
        answered(2, "Pisa."),
        used(2, (1000, 100), (1000, 100)),
    ]
    copied = [{**one, "timestamp": at(20)} for one in parent]
    begun = 20 if in_one_go else 30
    own = [said(begun, "and now?"), answered(31, "Bologna."), used(32, (3000, 300), (2000, 200))]
    fork = [meta(20, FORK, forked_from_id=samples.CODEX_SESSION), *copied, *own]
    told_json(server, "import", str(written(tmp_path / "fork.jsonl", *fork)))
    told_json(server, "import", str(written(tmp_path / "parent.jsonl", *parent)))
    found = runs(server)
    assert figures(server) == [(2000, 200), (1000, 100)]
    whole = server.client().get(f"/v1/runs/{found[f'codex:{FORK}']['run_id']}").json()
    assert (whole["input"], whole["metadata"]["forked_from"]) == ("and now?", samples.CODEX_SESSION)


def test_a_sub_agent_of_codex_is_a_child(server, tmp_path) -> None:
    spawned = {"subagent": {"thread_spawn": {"parent_thread_id": samples.CODEX_SESSION, "depth": 1}}}
    parent = meta(0, samples.CODEX_SESSION)
    child = [
        meta(5, FORK, source=spawned),
        {**parent, "timestamp": at(5)},
        said(6, "look"),
        used(7, (700, 70), (700, 70)),
    ]
    told_json(server, "import", str(written(tmp_path / "child.jsonl", *child)))
    own = [parent, said(1, "which?"), used(2, (1000, 100), (1000, 100))]
    told_json(server, "import", str(written(tmp_path / "parent.jsonl", *own)))
    found = runs(server)
    top, below = found[f"codex:{samples.CODEX_SESSION}"], found[f"codex:{FORK}"]
    assert (below["parent_run_id"], below["thread_id"]) == (top["run_id"], top["thread_id"])
    assert figures(server) == [(1000, 100), (700, 70)]


def test_a_pending_trace_of_langsmith_is_not_completed_and_ends_later(server, tmp_path) -> None:
    done = samples.langsmith()
    nothing = {"end_time": None, "status": "pending", "outputs": None, "total_tokens": None, "total_cost": None}
    pending = [{**one, **nothing, "prompt_tokens": None, "completion_tokens": None} for one in done]
    told = told_json(server, "import", str(written(tmp_path / "r.jsonl", *pending)))
    assert told["model_calls"] == 0
    [row] = runs(server).values()
    assert (row["status"], row["ended_at"]) == ("paused", None)
    assert told_json(server, "import", str(written(tmp_path / "r.jsonl", *done)))["refused"] == 0
    [row] = runs(server).values()
    assert (row["status"], row["ended_at"], figures(server)) == ("completed", at(6), [(1200, 90)])


def test_a_trace_of_langfuse_that_goes_on_has_no_figures_of_what_goes_on(server, tmp_path) -> None:
    root = {"id": "o1", "traceId": "t", "type": "SPAN", "name": "root", "startTime": at(1), "endTime": None}
    zeros = {"unit": "TOKENS", "input": 0, "output": 0, "total": 0}
    call = {**root, "id": "o2", "type": "GENERATION", "parentObservationId": "o1", "usage": zeros}
    told = told_json(server, "import", str(written(tmp_path / "o.jsonl", root, call)))
    [row] = runs(server).values()
    assert (told["model_calls"], row["status"]) == (0, "paused")
    ended = [{**one, "endTime": at(4)} for one in (root, {**call, "usage": {**zeros, "input": 10, "output": 5}})]
    trace = {"id": "t", "timestamp": at(1), "name": "root", "sessionId": "s7", "observations": ended}
    path = tmp_path / "t.json"
    written(path, trace)
    assert told_json(server, "import", str(left(path)))["refused"] == 0
    [row] = runs(server).values()
    assert (row["status"], row["thread_id"], figures(server)) == ("completed", "s7", [(10, 5)])
    assert told_json(server, "import", str(tmp_path / "o.jsonl"))["refused"] == 0


def test_tokens_that_langsmith_has_not_counted_are_those_of_the_message_or_of_the_provider(server, tmp_path) -> None:
    _, model, _ = samples.langsmith()
    none = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens", "total_cost"))
    bare = {**model, **none, "prompt_token_details": None, "completion_token_details": None, "parent_run_id": None}
    usage = {"input_tokens": 100, "output_tokens": 10, "input_token_details": {"cache_read": 40}}
    generations = [[{"message": {"kwargs": {"usage_metadata": usage}}}]]
    told_usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    lines = [
        {**bare, "id": "m1", "trace_id": "m1", "outputs": {"generations": generations}},
        {**bare, "id": "m2", "trace_id": "m2", "outputs": {"llm_output": {"token_usage": told_usage}}},
        {**bare, "id": "m3", "trace_id": "m3", "outputs": {}},
    ]
    told_json(server, "import", str(written(tmp_path / "r.jsonl", *lines)))
    assert figures(server) == [(100, 10), (7, 3), (None, None)]
