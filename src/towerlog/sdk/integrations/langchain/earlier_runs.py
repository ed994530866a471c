"""The run that a thread was left with by another process: its graph's state outlives the process, and so does the run.

The server knows the thread's open runs. It is asked where a graph goes on in whose thread no run of this process waits.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from towerlog.sdk.integrations.langchain.tree import Waiting
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.values.encoding import name_text
from towerlog.sdk.record.values.figures import thread_of
from towerlog.sdk.wire.errors import SdkError
from towerlog.sdk.wire.http import Http
from towerlog.sdk.wire.refusals import object_of

_log = logging.getLogger("towerlog.sdk")
LOOK_UP_S = 3.0
"""For so long a graph that goes on waits for the server's word on its thread."""
DRAIN_S = 1.0
MAX_RUNS = 50
"""Runs of a thread that are looked at, the newest."""
OPEN = frozenset({"running", "waiting_for_input", "paused", "cancelling"})
KEYS = "sdk:"
"""How the server calls the keys of recorders' runs."""


def left_in(recorder: Recorder, thread: str, agent: str, *, answered_here: bool) -> Waiting | None:
    """The newest open run of an agent in a thread, begun again, with those of the graphs inside it; None without any.

    What it has asked is asked again under the same keys. `answered_here`: the program brings the answers with it, so
    that the open questions are withdrawn and what people have answered is told as not taken.
    """
    try:
        found = _runs_of(recorder, thread)
    except (SdkError, ValueError) as error:
        _log.warning("thread %s: whether a run was left open there is unknown, a new one begins: %s", thread, error)
        return None
    row = next((one for one in found if one.get("agent") == name_text(agent) and not one.get("parent_run_id")), None)
    if row is None:
        return None
    run = recorder.start_run(agent, thread, run_key=_key_of(row))
    if answered_here:
        run.leave_questions([one["question_id"] for one in row.get("questions") or ()], "the program has answered it")
    inside: dict[str, BaseRun] = {
        str(one["agent"]): recorder.start_run(one["agent"], thread, run_key=_key_of(one), parent=run)
        for one in reversed(found)
        if one.get("parent_run_id") == row["run_id"]
    }
    recorder.drain(DRAIN_S)  # the reply tells which answers wait there: before the run may have ended again
    return Waiting(run, {}, inside, is_taken_up=not answered_here)


def _runs_of(recorder: Recorder, thread: str) -> list[Mapping[str, Any]]:
    """Open runs that a recorder has told of, newest first. Raises SdkError, ValueError."""
    server, api_key = recorder.server()
    recorder.drain(DRAIN_S)  # what the process before has left is the run's as well
    http = Http(server, api_key, LOOK_UP_S)
    try:
        query = urlencode({"thread_id": thread_of(thread), "limit": MAX_RUNS})
        rows = object_of(http.request("GET", f"/api/v1/runs?{query}", None, {}, LOOK_UP_S)).get("data")
    finally:
        http.close()
    known = [one for one in rows if isinstance(one, Mapping)] if isinstance(rows, list) else []
    left = [one for one in known if one.get("status") in OPEN and str(one.get("foreign_id")).startswith(KEYS)]
    return [one for one in left if not recorder.has_open(_key_of(one))]


def _key_of(row: Mapping[str, Any]) -> str:
    return str(row["foreign_id"]).removeprefix(KEYS)
