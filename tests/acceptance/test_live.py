"""`GET /api/v1/live`: rows as they change, on one stream for a whole screen."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.acceptance.feeds import claim, complete, create_run, held_run, ok, report, step, watch
from tests.acceptance.test_keys_and_orgs import drained
from tests.acceptance.test_stream_tickets import ticket_of
from tests.support.senders import ingest, sdk_event
from tests.support.server import ADMIN_KEY, Server
from tests.support.sse import EventStream, Frame, StreamEnded
from tests.support.wait import DEADLINE_S, wait_until

Json = dict[str, Any]


class Screen:
    """What a page keeps of a stream: the last row of each object, and the cursor to come back with."""

    def __init__(self, server: Server, query: str = "", key: str = ADMIN_KEY) -> None:
        self.server, self.query, self.key = server, query, key
        self.rows: dict[tuple[str, str], Json] = {}
        self.counts: dict[tuple[str, str], int] = {}
        self.cursor: str | None = None
        self.stream: EventStream | None = None
        self.frames: list[Frame] = []

    def open(self) -> Screen:
        """Connects, from where it was; its first event is a snapshot or a gap."""
        if self.stream is not None:
            self.stream.close()
        headers = {} if self.cursor is None else {"Last_Event_ID": self.cursor}
        self.stream = watch(self.server, f"/api/v1/live{self.query}", self.key, **headers)
        assert self.stream.status == 200, self.stream.status
        return self

    def __enter__(self) -> Screen:
        return self.open()

    def __exit__(self, *_: object) -> None:
        assert self.stream is not None
        self.stream.close()

    def take(self, deadline_s: float = DEADLINE_S) -> Frame:
        """The next event, taken note of."""
        assert self.stream is not None
        frame = self.stream.next_event(deadline_s)
        self.frames.append(frame)
        self.cursor = frame.id or self.cursor
        assert frame.event is not None
        if (name := NAMES.get(frame.event)) is not None:
            key = (frame.event, frame.json[name])
            self.rows[key] = frame.json
            self.counts[key] = self.counts.get(key, 0) + 1
        if frame.event == "removed":
            self.rows.pop((frame.json["kind"], frame.json["id"]), None)
        return frame

    def take_all(self) -> None:
        """Takes events until the stream ends, which raises."""
        while True:
            self.take()

    def until(self, kind: str, name: str, **members: Any) -> Json:
        """Takes events until a row has these members."""
        ends_at = time.monotonic() + DEADLINE_S
        while True:
            row = self.rows.get((kind, name), {})
            if row and all(row[member] == value for member, value in members.items()):
                return row
            self.take(ends_at - time.monotonic())

    def until_event(self, event: str) -> Frame:
        """Takes events until one of this name."""
        ends_at = time.monotonic() + DEADLINE_S
        while (frame := self.take(ends_at - time.monotonic())).event != event:
            pass
        return frame


NAMES = {
    "run": "run_id", "agent": "name", "lane": "run_id", "budget": "budget_id", "approval": "approval_id",
    "alert": "alert_id",
}  # fmt: skip
"""The member by which a row of each kind is known."""


@pytest.fixture
def screen(server: Server) -> Iterator[Screen]:
    """One that watches everything, past its snapshot."""
    with Screen(server) as watching:
        assert watching.take().event == "snapshot"
        yield watching


def listed(client, run_id: str) -> Json:
    return next(row for row in ok(client.get("/api/v1/runs", params={"q": run_id}))["data"] if row["run_id"] == run_id)


def without_clock(row: Json) -> Json:
    """A row without what moves by itself."""
    return {name: value for name, value in row.items() if name not in ("duration_ms", "liveness")}


def test_a_screen_is_told_of_a_run_its_agent_and_its_lane(client, screen, unique) -> None:
    thread, agent = unique("thread"), unique("agent")
    run_id = create_run(client, thread, agent=agent)["run_id"]
    assert screen.until("run", run_id, status="queued")["thread_id"] == thread
    assert screen.until("lane", run_id)["lease"]["state"] == "queued"
    claim(client, run_id, "w")
    assert screen.until("run", run_id, status="running")["agent"] == agent
    report(client, run_id, "w", {"type": "message.delta", "payload": {"content": "ü"}})
    complete(client, run_id, "w")
    row = screen.until("run", run_id, status="completed")
    assert without_clock(row) == without_clock(listed(client, run_id))
    found = ok(client.get("/api/v1/agents", params={"name": agent}))["data"][0]
    assert screen.until("agent", agent, event_count=found["event_count"]) == found
    while screen.rows["lane", run_id]["lease"]["state"] != "done":
        screen.take()


def test_it_begins_with_a_snapshot_and_each_event_has_a_place(client, server, unique) -> None:
    with Screen(server) as screen:
        first = screen.take()
        assert (first.event, first.json["resumed"], first.json["whole"]) == ("snapshot", False, [])
        assert first.id == first.json["cursor"]
        epoch = screen.stream.headers["x-log-epoch"] if screen.stream else ""
        assert first.id.startswith(f"{epoch}-")
        run_id = create_run(client, unique("thread"))["run_id"]
        screen.until("run", run_id)
        while screen.cursor == first.id:
            screen.take()


def test_hundreds_of_changes_are_a_few_frames_and_the_last_state_always_comes(client, screen, unique) -> None:
    wait_until(lambda: tells_each_run_seldom(client, screen, unique), "changes that come often enough to tell anything")


def tells_each_run_seldom(client, screen, unique) -> bool:
    """Whether each run has changed twice as often as it may be told; that it is told no oftener holds always."""
    runs = [held_run(client, unique("thread"), f"w-{n}") for n in range(3)]
    for run_id in runs:
        screen.until("run", run_id, status="running")
    screen.counts.clear()
    began, rounds = time.monotonic(), 0
    while time.monotonic() - began < 3:
        for n, run_id in enumerate(runs):
            report(
                client, run_id, f"w-{n}", *({"type": "message.delta", "payload": {"content": "x"}} for _ in range(5))
            )
        rounds += 1
    took_s = time.monotonic() - began
    for n, run_id in enumerate(runs):
        complete(client, run_id, f"w-{n}")
    for run_id in runs:
        last = screen.until("run", run_id, status="completed")
        assert last["last_seq"] == listed(client, run_id)["last_seq"]
        # Four a second, and one more at each end.
        assert screen.counts["run", run_id] <= 4 * took_s + 2
    return rounds > 8 * took_s


def test_filters_are_kept_and_a_row_that_leaves_is_told_of(client, server, unique) -> None:
    mine, other = unique("agent"), unique("agent")
    with (
        Screen(server, f"?kind=run&agent={mine}&status=queued,running") as screen,
        Screen(server, "?kind=lane") as lanes,
    ):
        assert screen.take().event == lanes.take().event == "snapshot"
        theirs = create_run(client, unique("thread"), agent=other)["run_id"]
        run_id = create_run(client, unique("thread"), agent=mine)["run_id"]
        screen.until("run", run_id, status="queued")
        claim(client, run_id, "w")
        complete(client, run_id, "w")
        screen.until("run", run_id, status="completed")
        lanes.until("lane", theirs)
        assert {kind for kind, _ in lanes.rows} == {"lane"}
        assert set(screen.rows) == {("run", run_id)}
    with Screen(server, f"?run_id={run_id.upper()}") as one, Screen(server, "?thread_id=nobody") as none:
        assert one.take().event == none.take().event == "snapshot"
        client.post(f"/v1/runs/{theirs}:cancel")
        # What comes after the end of a run changes its row once more.
        client.post(f"/api/agents/runs/{run_id}/events", json={"worker_id": "w", "events": []})
        step(client, unique("sdk"), "run_start", agent_name=unique("agent"))
    for query, field in (("kind=run,cat", "kind"), ("status=fine", "status"), ("cursor=x", "cursor"), ("x=1", "x")):
        refused = client.get(f"/api/v1/live?{query}")
        assert refused.status_code == 422
        assert refused.json()["detail"].startswith(f"{field}:")
    assert client.get("/api/v1/live", headers={"Last-Event-ID": "a b"}).status_code == 422


def test_another_organisation_sees_nothing(client, server, other_org, unique) -> None:
    key = other_org.headers["Authorization"].removeprefix("Bearer ")
    with Screen(server, key=key) as theirs, Screen(server) as mine:
        assert theirs.take().event == mine.take().event == "snapshot"
        run_id = create_run(client, unique("thread"))["run_id"]
        mine.until("run", run_id)
        own = create_run(other_org, unique("thread"))["run_id"]
        theirs.until("run", own)
        assert {name for kind, name in theirs.rows if kind == "run"} == {own}
        stolen = watch(server, "/api/v1/live", key, Last_Event_ID=mine.cursor or "")
        with stolen:
            frame = stolen.next_event()
            assert frame.event in ("snapshot", "gap")
            assert run_id not in (frame.data or "")


def test_scopes(scoped, server) -> None:
    for scope in ("ingest", "worker"):
        assert scoped(scope).get("/api/v1/live").status_code == 403
    with watch(server, "/api/v1/live", server.make_key("read")) as stream:
        assert stream.status == 200


def test_a_ticket_opens_it(server, client, unique) -> None:
    path = f"/api/v1/live?kind=run&ticket={ticket_of(client)}"
    stream = EventStream(server.base_url + path, {})
    with stream:
        assert stream.status == 200
        assert stream.next_event().event == "snapshot"
        run_id = create_run(client, unique("thread"))["run_id"]
        while stream.next_event().json.get("run_id") != run_id:
            pass
    with EventStream(server.base_url + path, {}) as again:
        assert again.status == 401


def test_who_was_away_is_told_what_has_changed(client, server, unique) -> None:
    agent = unique("agent")
    run_id = create_run(client, unique("thread"), agent=agent)["run_id"]
    with Screen(server, f"?agent={agent}") as screen:
        screen.take()
        claim(client, run_id, "w")
        screen.until("run", run_id, status="running")
        while screen.rows.get(("lane", run_id), {}).get("lease", {}).get("state") != "held":
            screen.take()
    complete(client, run_id, "w")
    fresh = create_run(client, unique("thread"), agent=agent)["run_id"]
    screen.frames.clear()
    with screen:
        first = screen.take()
        assert (first.event, first.json["resumed"]) == ("snapshot", True)
        screen.until_event("position")
        assert screen.rows["run", run_id]["status"] == "completed"
        assert screen.rows["run", fresh]["status"] == "queued"
        assert screen.rows["lane", run_id]["lease"]["state"] == "done"
        assert screen.rows["lane", fresh]["lease"]["state"] == "queued"
        assert screen.rows["agent", agent] == ok(client.get("/api/v1/agents", params={"name": agent}))["data"][0]


def test_a_list_says_from_where_on_to_watch(client, server, unique) -> None:
    agent = unique("agent")
    run_id = create_run(client, unique("thread"), agent=agent)["run_id"]
    for path in ("runs", "agents", "lanes", "budgets", "approvals", "alerts"):
        assert client.get(f"/api/v1/{path}").headers["x-live-cursor"]
    cursor = client.get("/api/v1/runs").headers["x-live-cursor"]
    claim(client, run_id, "w")
    with Screen(server, f"?agent={agent}&cursor={cursor}") as screen:
        assert screen.take().json["resumed"]
        screen.until("run", run_id, status="running")


def test_a_cursor_of_another_log_is_a_gap(server) -> None:
    for cursor in ("elsewhere-5", "999999999"):
        with watch(server, "/api/v1/live", Last_Event_ID=cursor) as stream:
            gap, snapshot = stream.events(2)
            assert (gap.event, gap.json["reason"]) == ("gap", "the cursor is of another log")
            assert (snapshot.event, snapshot.json["resumed"]) == ("snapshot", False)


def test_who_missed_too_much_reads_the_lists(fresh_server) -> None:
    server = fresh_server()
    client = server.client()
    with Screen(server) as screen:
        screen.take()
    items = [
        {"event_id": f"{n}", "run_key": f"r{n}", "type": "run.started", "data": {}, "client_seq": 1}
        for n in range(2100)
    ]
    for start in range(0, len(items), 500):
        ok(client.post("/api/v1/events", json={"client_id": "c", "events": items[start : start + 500]}))
    with screen:
        assert screen.take().event == "gap"
        assert screen.take().json["resumed"] is False


def test_nothing_is_lost_over_restarts(fresh_server) -> None:
    server = fresh_server()
    client = server.client()
    stop = threading.Event()
    runs: list[str] = []

    def write() -> None:
        n = 0
        while not stop.is_set():
            try:
                run_id = held_run(client, f"t{n}", "w")
                runs.append(run_id)
                complete(client, run_id, "w")
            except Exception:  # the server is away: what came of it is seen in the list
                stop.wait(0.05)
            n += 1

    writer = threading.Thread(target=write)
    writer.start()
    screen = Screen(server).open()
    try:
        for turn in range(3):
            seen = len(screen.rows)
            while len(screen.rows) < seen + 10:
                screen.take()
            if turn < 2:
                [server.restart, lambda: (server.kill(), server.start())][turn]()
            else:
                assert screen.stream is not None
                screen.stream.cut()
            with pytest.raises((StreamEnded, OSError)):
                screen.take_all()
            screen.open()
    finally:
        stop.set()
        writer.join()
    listed_rows = {row["run_id"]: row for row in all_runs(client)}
    assert set(runs) <= set(listed_rows)
    wait_for = {run_id: row["last_seq"] for run_id, row in listed_rows.items()}
    ends_at = time.monotonic() + DEADLINE_S
    while {run_id: screen.rows.get(("run", run_id), {}).get("last_seq") for run_id in wait_for} != wait_for:
        screen.take(ends_at - time.monotonic())
    assert screen.stream is not None
    screen.stream.close()


def all_runs(client) -> list[Json]:
    rows: list[Json] = []
    cursor = None
    while True:
        page = ok(client.get("/api/v1/runs", params={"limit": 200} | ({"cursor": cursor} if cursor else {})))
        rows += page["data"]
        cursor = page["next"]
        if cursor is None:
            return rows


def test_a_revoked_key_ends_it(server, client) -> None:
    made = server.create_key("read")
    with watch(server, "/api/v1/live", made["key"]) as stream:
        assert stream.next_event().event == "snapshot"
        ok(client.delete(f"/api/v1/keys/{made['key_id']}"))
        assert drained(stream, DEADLINE_S)


def test_one_that_takes_nothing_delays_nobody(fresh_server) -> None:
    server = fresh_server()
    client = server.client()
    runs = [held_run(client, f"t{n}", "w", metadata={"note": "x" * 4000}) for n in range(60)]
    before = server.resident_bytes()
    with ExitStack() as left, Screen(server) as awake:
        sleepers = [left.enter_context(Screen(server)) for _ in range(20)]
        awake.take()
        for _ in range(20):
            for run_id in runs:
                report(client, run_id, "w", {"type": "message.delta", "payload": {"content": "x"}})
        for run_id in runs:
            complete(client, run_id, "w")
        for run_id in runs:
            awake.until("run", run_id, status="completed")
        assert server.resident_bytes() - before < 60 * 2**20
        for sleeper in sleepers[1:]:
            sleeper.stream.cut() if sleeper.stream else None
        woken = sleepers[0]
        try:
            for run_id in runs:
                woken.until("run", run_id, status="completed")
        except StreamEnded:  # cut off for taking nothing: it comes back where it was
            woken.open()
            for run_id in runs:
                woken.until("run", run_id, status="completed")


def test_budgets_are_watched_and_their_end_is_told(client, server, unique) -> None:
    body = {"name": unique("budget"), "scope": {"agent": unique("agent")}, "amount_usd": 5}
    with Screen(server, "?kind=budget") as screen:
        screen.take()
        made = ok(client.post("/api/v1/budgets", json=body), 201)
        screen.until("budget", made["budget_id"], amount_usd=5)
        ok(client.patch(f"/api/v1/budgets/{made['budget_id']}", json={"amount_usd": 7}))
        screen.until("budget", made["budget_id"], amount_usd=7)
        other = ok(client.post("/api/v1/budgets", json=body | {"name": unique("budget")}), 201)
        screen.until("budget", other["budget_id"])
        ok(client.delete(f"/api/v1/budgets/{made['budget_id']}"))
        removed = screen.until_event("removed")
        assert removed.json == {"kind": "budget", "id": made["budget_id"]}
    ok(client.delete(f"/api/v1/budgets/{other['budget_id']}"))
    screen.rows.clear()
    with screen:
        first = screen.take()
        assert (first.json["resumed"], first.json["whole"]) == (True, ["budget"])
        screen.until_event("position")
        assert ("budget", other["budget_id"]) not in screen.rows


def asked(client, name: str, question: str) -> Json:
    """A question of a run of `steps`, as the inbox shows it."""
    ok(ingest(client, sdk_event("human_input_requested", name, {"question": question}, agent_name="asker")))
    return next(one for one in ok(client.get("/api/v1/approvals"))["data"] if one["question"] == question)


def test_an_inbox_is_kept_by_what_is_told(client, server, unique) -> None:
    with Screen(server, "?kind=approval") as screen:
        screen.take()
        first = asked(client, unique("sdk"), unique("question"))
        assert screen.until("approval", first["approval_id"], state="open") == first
        ok(client.post(f"/api/v1/approvals/{first['approval_id']}", json={"content": "yes"}))
        closed = screen.until("approval", first["approval_id"], state="answered")
        assert closed == ok(client.get(f"/api/v1/approvals/{first['approval_id']}"))
        second, third = (asked(client, unique("sdk"), unique("question")) for _ in range(2))
        for one in (second, third):
            screen.until("approval", one["approval_id"], state="open")
    ok(client.post(f"/api/v1/approvals/{second['approval_id']}", json={"content": "yes"}))
    server.restart()
    screen.rows.clear()
    with screen:
        first_frame = screen.take()
        assert (first_frame.json["resumed"], first_frame.json["whole"]) == (True, ["approval"])
        screen.until_event("position")
        assert screen.rows["approval", third["approval_id"]] == third
        assert ("approval", second["approval_id"]) not in screen.rows


def test_alerts_are_watched_also_by_who_was_away(client, server, unique) -> None:
    agent = unique("agent")
    rule = {"name": "broken", "trigger": "error", "scope": {"agent": agent}, "channels": [{"type": "in_app"}]}
    ok(client.post("/api/v1/alert-rules", json=rule), 201)
    with Screen(server, f"?kind=alert&agent={agent}") as screen:
        screen.take()
        ok(ingest(client, sdk_event("error", unique("sdk"), {"error_message": "no paper"}, agent_name=agent)))
        while not screen.rows:
            screen.take()
        [(_, alert_id)] = screen.rows
        found = ok(client.get(f"/api/v1/alerts/{alert_id}"))
        assert screen.rows["alert", alert_id] == found
    ok(client.post(f"/api/v1/alerts/{alert_id}:acknowledge"))
    with screen:
        assert screen.take().json["resumed"]
        screen.until("alert", alert_id, state="OK")
        assert screen.rows["alert", alert_id] == ok(client.get(f"/api/v1/alerts/{alert_id}"))


def test_a_head_opens_nothing(client) -> None:
    reply = client.head("/api/v1/live")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/event-stream")
