"""The agents that the workers of the tests serve: `towerlog worker --app tests.sdk.served_agents:app`."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any
from uuid import uuid4

import towerlog
from towerlog.sdk.work.app import App

app = App()


@app.agent("researcher", default=True)
async def researcher(run: Any) -> dict[str, Any]:
    """Streams, calls a tool, asks, and returns the answer."""
    run.message_delta("looking ")
    with run.tool_call("search", arguments={"q": run.input}) as call:
        await asyncio.sleep(0)
        call.result = ["found"]
    run.message_delta("found ")
    run.checkpoint([{"role": "user", "content": "hi"}], step_index=1)
    answer = await run.ask("Publish?")
    return {"published": answer}


@app.agent("resumable")
async def resumable(run: Any) -> dict[str, Any]:
    """The first attempt never ends; the next goes on where it stopped."""
    if run.resume is None:
        run.checkpoint([{"role": "user", "content": "one"}], step_index=1, state={"done": 1})
        run.checkpoint([{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}], step_index=2)
        run.message_delta("holding")
        try:
            await asyncio.Event().wait()
        finally:
            run.message_delta("words after the end")
    return {"from": run.resume["step_index"], "history": run.resume["history"], "token": run.fencing_token}


@app.agent("historian")
async def historian(run: Any) -> list[Any]:
    """Adds to what the thread's earlier runs have left, and returns that."""
    before = list(run.history)
    run.checkpoint([*before, {"said": run.input}])
    if run.input == "fail":
        raise ValueError("as asked")
    return before


@app.agent("polite")
async def polite(run: Any) -> None:
    """Waits to be cancelled."""
    run.message_delta("waiting")
    await asyncio.Event().wait()


@app.agent("deaf")
async def deaf(run: Any) -> None:
    """Ignores every cancel."""
    run.message_delta("deaf")
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            run.message_delta("no")


@app.agent("checking")
def checking(run: Any) -> None:
    """Sync; looks at its flag now and then."""
    pause = threading.Event()
    while True:
        run.message_delta("tick ")
        run.check()
        pause.wait(0.02)


@app.agent("deaf-sync")
def deaf_sync(run: Any) -> None:
    """Sync; never looks."""
    run.message_delta("deaf")
    threading.Event().wait()


@app.agent("asking-sync")
def asking_sync(run: Any) -> Any:
    """Sync; asks."""
    return [run.ask("one?"), run.ask("two?")]


@app.agent("asking-otherwise")
async def asking_otherwise(run: Any) -> Any:
    """Asks, each attempt in another way: as after a deploy."""
    return await run.ask("Delete?", schema={"type": "string", "maxLength": 100 + run.fencing_token})


@app.agent("failing")
async def failing(run: Any) -> None:
    """Raises."""
    raise ValueError("first line\nsecond line")


@app.agent("exiting")
async def exiting(run: Any) -> None:
    """Wants to end the process."""
    raise SystemExit(3)


@app.agent("blocking")
async def blocking(run: Any) -> str:
    """Blocks the event loop of all async agents for longer than a lease."""
    run.message_delta("blocking")
    threading.Event().wait(float(run.input))
    return "done"


@app.agent("counting")
async def counting(run: Any) -> int:
    """Says many things."""
    for number in range(int(run.input)):
        run.message_delta(f"{number} ")
        if number % 10 == 0:
            await asyncio.sleep(0.02 if number else 0)
    return int(run.input)


@app.agent("huge")
async def huge(run: Any) -> str:
    """Returns more than the server takes in one event."""
    return "x" * 3_000_000


@app.agent("pausing")
async def pausing(run: Any) -> None:
    """Speaks between places where it may be paused."""
    while True:
        await run.pause_point()
        run.message_delta("tick ")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.02)


@app.agent("stepping")
async def stepping(run: Any) -> dict[str, Any]:
    """Fails after its second step; whoever goes on from one of its checkpoints is told what was handed over."""
    if run.resume is not None:
        handed = {name: run.resume[name] for name in ("step_index", "history", "state")}
        return {"input": run.input, "resume": handed}
    run.checkpoint(["one"], step_index=1, state={"done": 1})
    run.checkpoint(["one", "two"], step_index=2, state={"done": 2})
    raise RuntimeError("after two steps")


@app.agent("telling")
async def telling(run: Any) -> dict[str, Any]:
    """Returns what it was made with."""
    return {"persona": run.persona, "route": run.route, "input": run.input, "agent": run.agent}


@app.agent("nesting")
def nesting(run: Any) -> bool:
    """Reports a run of its own."""
    with towerlog.record_run(agent="nested") as inner:
        inner.message_delta("below")
    return towerlog.flush(10)


@app.agent("saving")
async def saving(run: Any) -> str:
    """Begins at the beginning, whatever was reached before."""
    for said in ("go", f"thinks {uuid4()}"):
        run.checkpoint([{"role": "user", "content": said}])
    return str(await run.ask("Pay?"))


@app.agent("resuming")
async def resuming(run: Any) -> str:
    """Goes on from its checkpoint, and saves that again."""
    history = run.resume["history"] if run.resume else [{"role": "user", "content": "go"}]
    run.checkpoint(history)
    return str(await run.ask("Pay?"))
