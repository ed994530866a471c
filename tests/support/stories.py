"""Random stories for an engine: what senders and people might do, in every order, with every kind of event.

A story is a list of acts. Threads, traces, agents and ids come from small pools, so that acts meet: the same run, the
same id, a start after its end, a decision about a checkpoint that is not there.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from tests.support.factories import facts_of
from tests.support.rig import Rig
from towerlog.errors import TowerlogError
from towerlog.model import command as c
from towerlog.model import question as q
from towerlog.model.event import AgentHeartbeat, Draft, EventType, History, OpenRun, RunByForeignId, RunById, RunByTrace
from towerlog.model.facts import CheckpointFacts, LaneFacts
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow, Status
from towerlog.model.usage import Usage, UsageReport

THREADS = ("t1", "t2")
TRACES = ("x", "y")
AGENTS = ("alice", "bob", None)
WORKERS = ("w1", "w2")
LEASE_MS = 60_000

figures = st.none() | st.integers(0, 50)
usages = st.builds(Usage, figures, figures, figures, figures, figures, figures, figures)
kinds = st.sampled_from(["total", "delta", "turn"])
reports = st.builds(UsageReport, usages, kinds, st.booleans(), st.booleans(), by_size=st.booleans())

refs = (
    st.builds(RunByTrace, st.sampled_from(THREADS), st.sampled_from(TRACES), st.booleans())
    | st.builds(OpenRun, st.sampled_from(THREADS), st.booleans())
    | st.builds(
        RunByForeignId, st.sampled_from(["steps:1", "steps:2"]), st.sampled_from((*THREADS, "t3")), st.booleans()
    )
)

checkpoints = st.builds(
    CheckpointFacts,
    step_index=st.integers(0, 3),
    status=st.sampled_from(["completed", "waiting_for_approval", "idle"]),
    has_meta=st.booleans(),
    initial=st.booleans(),
)
decisions = st.builds(
    CheckpointFacts,
    step_index=st.integers(0, 3),
    status=st.sampled_from(["approved", "rejected"]),
    decision=st.just(True),
)
messages = st.lists(st.sampled_from([b'{"a":1}', b'{"b":2,"a":1}', b'{"c":"\\u0000"}']), max_size=3)
histories = st.builds(History, messages, st.none())


ranges = st.tuples(st.integers(1, 9), st.integers(0, 3)).map(lambda pair: (pair[0], pair[0] + pair[1]))
numbers = st.fixed_dictionaries(
    {"client_id": st.sampled_from(["c1", "c2"]), "client_seq": st.integers(1, 9)},
    optional={"client_dropped": ranges, "client_key": st.sampled_from(["k1", "k2"])},
)
"""Who numbered an event, and how: in any order, with holes and repeats."""


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    """Any event that a dialect might propose, and some that none does."""
    kind = draw(st.sampled_from([*TOLD, *LIKELY * 3]))
    facts: dict[str, Any] = {"report": draw(reports)} if draw(st.booleans()) else {}
    for name, strategy in FACTS.items():
        if draw(st.integers(0, 5)) == 0:
            facts[name] = draw(strategy)
    if draw(st.integers(0, 2)) == 0:
        facts |= draw(numbers)
    history = None
    if kind is EventType.CHECKPOINT:
        facts["checkpoint"] = draw(checkpoints | decisions)
        history = draw(st.none() | histories)
    data = {"content": draw(st.sampled_from(["", "hi"])), "n": draw(st.integers(0, 2)), "input": "go"}
    return Draft(
        kind,
        draw(refs),
        msgspec.json.encode(data),
        facts_of(**facts),
        occurred_at=draw(st.none() | st.integers(0, 2**52)),
        event_id=draw(st.none() | st.none() | st.sampled_from(["id-1", "id-2"])),
        natural_key=draw(st.none() | st.none() | st.sampled_from(["run_start", "run_end"])),
        agent=draw(st.sampled_from(AGENTS)),
        history=history,
    )


TOLD = [kind for kind in EventType if kind not in (EventType.RUN_QUEUED, EventType.ERASED, EventType.RUN_ERASED)]
"""A queue has what the engine itself put there, with a lane; and what was erased is nobody else's word."""
LIKELY = (EventType.MODEL_CALL, EventType.CHECKPOINT, EventType.RUN_STARTED)
"""These move the most."""
FACTS: dict[str, st.SearchStrategy[Any]] = {
    "name": st.just("own.type"),
    "rate_limited": st.just(True),
    "idle": st.just(True),
    "beat": st.just(True),
    "status": st.sampled_from(list(Status)),
    "model": st.sampled_from(["m1", "m2"]),
    "tool": st.sampled_from(["sh", "web"]),
    "error": st.just("went wrong"),
    "question": st.just("which?"),
    "parent_key": st.sampled_from(["trace:x", "trace:y"]),
    "lane": st.builds(LaneFacts, phase=st.sampled_from([None, "packing"]), attempt=st.integers(0, 3)),
    "requests": st.sampled_from(["cancel", "input", "pause"]),
    "acknowledges": st.sampled_from(["cancel", "input", "pause"]),
    "command_id": st.integers(1, 6),
    "forced": st.just(True),
    "recovered": st.just(True),
    "is_start": st.just(True),
    "metadata": st.sampled_from([msgspec.Raw(b'{"k": [1.50]}'), msgspec.Raw(b'{"j":"\\u0000"}')]),
}

touches = st.builds(AgentHeartbeat, st.sampled_from(["alice", "carol"]))
appends = st.lists(drafts() | touches, min_size=1, max_size=6).map(lambda items: ("append", items))
passing = st.sampled_from([1, 30_000, LEASE_MS, 3_600_000]).map(lambda ms: ("pass", ms))
clearing = st.just(("forget", 0))
control = st.sampled_from(
    ["create", "claim", "report", "release", "finish", "cancel", "input", "decide", "sweep", "retry", "fork"]
)
acts = st.tuples(control, st.integers(0, 5))
stories = st.lists(st.one_of(appends, passing, appends, acts, clearing, acts, appends), min_size=8, max_size=24)


async def play(rig: Rig, story: list[tuple[str, Any]], who: Principal) -> None:
    """Acts a story out. What is refused is refused: the laws hold all the same."""
    for act, detail in story:
        try:
            await _act(rig, who, act, detail)
        except TowerlogError as error:
            if error.code in ("internal", "storage_failed"):
                raise AssertionError(f"{act} {detail}: {error.message}") from error


async def _act(rig: Rig, who: Principal, act: str, detail: Any) -> None:
    if act == "append":
        await rig.do(c.Append("steps", detail), principal=who)
    elif act == "pass":
        rig.clock.advance(detail)
    elif act == "forget":
        rig.engine.forget()
    elif act == "sweep":
        await rig.engine.sweep()
    elif act == "create":
        await rig.do(c.CreateRun(THREADS[detail % 2], agent=AGENTS[detail % 3], metadata=b'{"m":1}'), principal=who)
    elif act == "claim":
        await rig.do(c.Claim(WORKERS[detail % 2], LEASE_MS), principal=who)
    elif act == "decide":
        await rig.do(c.Decide(TRACES[detail % 2], detail // 2, "approved"), principal=who)
    else:
        runs = await rig.store.runs(who.org, q.RunFilter(), 6, None)
        if detail < len(runs):
            await _act_on(rig, who, act, runs[detail], WORKERS[detail % 2])


async def _act_on(rig: Rig, who: Principal, act: str, run: RunRow, worker: str) -> None:
    run_id = run.run_id
    commands: dict[str, c.Write] = {
        "cancel": c.CancelRun(run_id),
        "retry": c.RetryRun(run_id),
        "fork": c.ForkRun(run_id, max((part.step_index for part in run.shares.values()), default=0)),
        "input": c.GiveInput(run_id, "yes"),
        "release": c.Release(run_id, worker),
        "report": c.Report(run_id, worker, [Draft(EventType.STEP, RunById(run_id), b"{}")], phase="packing"),
        "finish": c.Finish(run_id, worker, Draft(EventType.RUN_COMPLETED, RunById(run_id), b"{}")),
    }
    await rig.do(commands[act], principal=who)
