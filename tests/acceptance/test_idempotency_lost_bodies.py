"""Between a commit and its stored reply: whatever is lost there, a repeat is answered as the first request was.

The server's own code is changed from outside, by a `sitecustomize` in its path: once to never store a reply, once to
kill its process where it would have.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.feeds import cancel, create_run, ok
from tests.acceptance.routes import POSTS, ROUTES
from tests.acceptance.test_idempotency_keys import same, target
from tests.support.server import NO_LIMITS, Server

NEVER_STORED = "Intake.keep_body = lambda *_: None"
KILLED = "Intake.keep_body = lambda *_: os.kill(os.getpid(), signal.SIGKILL)"


def changed_server(folder: Path, change: str) -> Server:
    """A server with one line of its intake changed."""
    code = folder / "code"
    code.mkdir()
    lines = ["import os, signal", "from towerlog.engine.commit.queue import Intake", change, ""]
    (code / "sitecustomize.py").write_text("\n".join(lines))
    return Server(folder / "data", {**NO_LIMITS, "PYTHONPATH": str(code)})


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A server that never stores a reply: every repeat is made of the ids that the commit kept."""
    server = changed_server(tmp_path_factory.mktemp("forgetful"), NEVER_STORED)
    try:
        yield server.start().client()
        server.stop()
    finally:
        server.close()


@pytest.mark.parametrize("path", POSTS)
def test_a_reply_that_was_never_stored_is_made_again(forgetful: httpx2.Client, unique, path: str) -> None:
    where, key = target(forgetful, unique, path), unique("key")
    body = ROUTES["POST", path].body
    first, *again = (forgetful.post(where, json=body, headers={"Idempotency-Key": key}) for _ in range(3))
    assert first.status_code < 300, first.text
    assert all(same(first, each) for each in again), [first.text, *(each.text for each in again)]


@pytest.mark.parametrize(
    "what", ["create", pytest.param("pause", marks=pytest.mark.slow), pytest.param("retry", marks=pytest.mark.slow)]
)
def test_a_process_killed_between_commit_and_reply_has_carried_it_out_once(tmp_path: Path, unique, what: str) -> None:
    folder, key, thread = tmp_path / "killed", {"Idempotency-Key": unique("key")}, unique("thread")
    folder.mkdir()
    killed, sound = changed_server(folder, KILLED), Server(folder / "data", NO_LIMITS)
    try:
        client = sound.start().client()
        run_id = create_run(client, unique("before"))["run_id"]
        if what == "retry":
            cancel(client, run_id)
        sound.stop()
        where, body = {
            "create": (f"/v1/threads/{thread}/runs", {}),
            "pause": (f"/api/v1/runs/{run_id}:pause", {}),
            "retry": (f"/api/v1/runs/{run_id}:retry", {}),
        }[what]
        with pytest.raises(httpx2.TransportError):
            killed.start().client().post(where, json=body, headers=key)
        killed.close()
        again = sound.start().client()
        replies = [again.post(where, json=body, headers=key) for _ in range(3)]
        assert replies[0].status_code < 300, replies[0].text
        assert all(same(replies[0], each) for each in replies[1:]), [each.text for each in replies]
        runs = ok(again.get("/api/v1/runs"), 200)["data"]
        assert len(runs) == (1 if what == "pause" else 2), "carried out twice, or not at all"
        log = ok(again.get(f"/api/v1/runs/{runs[0]['run_id']}/events"), 200)["data"]
        assert len(log) == (2 if what == "pause" else 1)
    finally:
        killed.close()
        sound.close()
