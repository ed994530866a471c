"""A program with the OpenAI Agents SDK, whose models are served here: a function reports in a thread of its name."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agents import (
    Agent,
    Model,
    ModelResponse,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    RunHooks,
    Runner,
    RunState,
    Usage,
    function_tool,
    set_default_openai_client,
    set_trace_processors,
)
from agents.exceptions import MaxTurnsExceeded, ModelBehaviorError
from openai import AsyncOpenAI
from openai.types.responses import ResponseOutputMessage, ResponseOutputText

import towerlog
from tests.sdk.integrations.clients.provider import RESPONSE_USAGE, provider
from tests.support.wait import wait_until
from towerlog.sdk.integrations.openai_agents import hooks as hooks_module

HEARD: list[str] = []
MANY = 40
RESPONSE: dict[str, Any] = {
    "object": "response",
    "created_at": 1,
    "model": "gpt-5",
    "status": "completed",
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "output": [
        {
            "type": "message",
            "id": "m1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Cold.", "annotations": []}],
        }
    ],
    "usage": RESPONSE_USAGE,
}
numbers = itertools.count()


class Theirs(RunHooks):
    """Hooks that the program itself has."""

    async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: Any) -> None:
        HEARD.append(f"{tool.name}: {result}")


@function_tool
def weather(city: str) -> str:
    """How it is there."""
    if city == "Atlantis":
        raise ValueError("no such city")
    towerlog.current_run().step("looked")
    return f"cold in {city}"


@function_tool(needs_approval=True)
def publish(text: str) -> str:
    """Makes it public."""
    return f"published {text}"


@function_tool(needs_approval=True)
def retract(text: str) -> str:
    """Takes it back."""
    return f"retracted {text}"


def agent(name: str, *script: Any, **options: Any) -> Agent:
    return Agent(name=name, instructions=json.dumps(list(script)), model="gpt-offline", **options)


def config(thread: str) -> RunConfig:
    return RunConfig(group_id=thread, model_settings=ModelSettings())


def ask(thread: str, of: Agent, text: str = "Oslo?", **options: Any) -> Any:
    return on_a_loop(lambda: Runner.run(of, text, run_config=config(thread), **options))


def on_a_loop(work: Callable[[], Any]) -> Any:
    """Connections belong to an event loop, so each has a client of its own."""
    set_default_openai_client(AsyncOpenAI(max_retries=0), use_for_tracing=False)

    async def act() -> Any:
        return await work()

    return asyncio.run(act())


def tools() -> None:
    calls = [{"weather": {"city": "Oslo"}}, {"weather": {"city": "Atlantis"}}]
    found = ask("tools", agent("forecaster", *calls, "Cold.", tools=[weather]), hooks=Theirs())
    assert found.final_output == "Cold."
    assert HEARD[0] == "weather: cold in Oslo", HEARD


def sync() -> None:
    set_default_openai_client(AsyncOpenAI(max_retries=0), use_for_tracing=False)
    found = Runner.run_sync(agent("forecaster", "Cold."), "Oslo?", run_config=config("sync"))
    assert found.final_output == "Cold."


def streamed() -> None:
    async def run() -> None:
        found = Runner.run_streamed(agent("forecaster"), "Oslo?", run_config=config("streamed"))
        assert [event async for event in found.stream_events()]
        assert found.final_output == "It is cold."

    on_a_loop(run)


def handoff() -> None:
    writer = agent("writer", "", "Written.")
    first = agent("planner", {"transfer_to_writer": {}}, handoffs=[writer])
    assert ask("handoff", first).final_output == "Written."


def agent_as_tool() -> None:
    inner = agent("observer", "Cold.")
    look = inner.as_tool(tool_name="look", tool_description="Looks.")
    outer = agent("editor", {"look": {"input": "Oslo?"}}, "So cold.", tools=[look])
    assert ask("agent_as_tool", outer).final_output == "So cold."


@function_tool
async def deeper(question: str) -> str:
    """Asks another agent, by the runner itself."""
    towerlog.current_run().step("inside")
    return str((await Runner.run(wrapped("deep", "Deep."), question)).final_output)


def wrapped(name: str, *script: Any, **options: Any) -> Agent:
    """An agent whose client tells its calls as well."""
    model = OpenAIResponsesModel("gpt-offline", towerlog.wrap(AsyncOpenAI(max_retries=0)))
    return Agent(name=name, instructions=json.dumps(list(script)), model=model, **options)


async def read(result: Any) -> Any:
    async for _ in result.stream_events():
        pass
    return result


def three_ways() -> None:
    """Each way of the runner, with a client that tells its calls as well and without, with an inner run and without."""
    for name, make in (("plain", agent), ("wrapped", wrapped)):
        for kind, calls in (("flat", []), ("nested", [{"deeper": {"question": "?"}}])):
            each_way(f"{name}_{kind}", make, calls)


def each_way(kind: str, make: Callable[..., Agent], calls: list[Any]) -> None:
    def asker() -> Agent:
        return make("outer", *calls, "Cold.", tools=[deeper])

    async def stream() -> None:
        result = Runner.run_streamed(asker(), "Oslo?", run_config=config(f"run_streamed_{kind}"))
        await asyncio.create_task(read(result))

    async def run() -> None:
        await Runner.run(asker(), "Oslo?", run_config=config(f"run_{kind}"))

    on_a_loop(run)
    on_a_loop(stream)
    set_default_openai_client(AsyncOpenAI(max_retries=0), use_for_tracing=False)
    Runner.run_sync(asker(), "Oslo?", run_config=config(f"run_sync_{kind}"))


def nested() -> Agent:
    calls = [{"publish": {"text": "cold"}}]
    look = agent("observer", *calls, "Cold.", tools=[publish]).as_tool(tool_name="look", tool_description="Looks.")
    return agent("editor", {"look": {"input": "Oslo?"}}, "So cold.", tools=[look])


def deeply_nested() -> Agent:
    ask_editor = nested().as_tool(tool_name="ask_editor", tool_description="Asks.")
    return agent("chief", {"ask_editor": {"input": "Oslo?"}}, "All cold.", tools=[ask_editor])


def twice_nested() -> Agent:
    """Its inner agent asks once more after it has gone on."""
    look = press().as_tool(tool_name="look", tool_description="Looks.")
    return agent("editor", {"look": {"input": "Oslo?"}}, "So cold.", tools=[look])


def inner_asks() -> None:
    """A person decides on a call of an agent that is a tool, of one or two others."""
    for thread, asker, said in [
        ("inner_yes", nested(), "yes"),
        ("inner_no", nested(), "not cold"),
        ("deep_yes", deeply_nested(), "yes"),
        ("inner_twice", twice_nested(), "yes"),
    ]:
        result = ask(thread, asker)
        while result.interruptions:
            answer_now(thread, said)
            result = ask(thread, asker, towerlog.openai_agents.answer(result, timeout=60))


def inner_asks_elsewhere() -> None:
    told = ask("inner_elsewhere", nested()).to_state().to_string()
    answer_now("inner_elsewhere", "yes")
    in_a_process("inner_elsewhere", "nested", "", told)


def inner_is_cancelled() -> None:
    """A cancel comes while people are waited for."""
    result = ask("inner_cancelled", nested())
    assert towerlog.flush(60)
    with towerlog.Client() as client:
        [one] = [one for one in client.list_approvals() if one.thread_id == "inner_cancelled" and one.state == "open"]
        client.cancel_run(one.run_id, reason="enough")
    with contextlib.suppress(towerlog.RunCancelled):
        towerlog.openai_agents.answer(result, timeout=60)
        raise SystemExit("it was not cancelled")


def streams_left() -> None:
    async def cancels() -> None:
        result = Runner.run_streamed(agent("forecaster"), "Oslo?", run_config=config("stream_cancelled"))
        async for event in result.stream_events():
            if event.type == "raw_response_event":
                result.cancel()

    async def unread() -> None:
        Runner.run_streamed(agent("forecaster"), "Oslo?", run_config=config("stream_unread")).cancel()

    async def leaves() -> None:
        result = Runner.run_streamed(wrapped("forecaster"), "Oslo?", run_config=config("stream_left"))
        events = result.stream_events()
        async for _ in events:
            break
        await events.aclose()
        await asyncio.wait([result.run_loop_task])

    for each in (cancels, unread, leaves):
        on_a_loop(each)


def answer_soon(thread: str, answer: str) -> None:
    def is_answered(client: towerlog.Client) -> bool:
        for one in client.list_approvals():
            if one.thread_id == thread and one.state == "open":
                client.answer_approval(one.approval_id, answer)
                return True
        return False

    def act() -> None:
        with towerlog.Client() as client:
            wait_until(lambda: is_answered(client), f"a question in {thread}")

    threading.Thread(target=act).start()


def answer_now(thread: str, *answers: str) -> None:
    """Somebody answers what is open in a thread, the oldest first: the server has it once this returns."""
    assert towerlog.flush(60)
    with towerlog.Client() as client:
        found = [one for one in client.list_approvals() if one.thread_id == thread and one.state == "open"]
        for one, answer in zip(sorted(found, key=lambda one: one.question_id), answers, strict=False):
            client.answer_approval(one.approval_id, answer)


def approved() -> None:
    asker = agent("press", {"publish": {"text": "cold"}}, "Done.", tools=[publish])
    result = ask("approved", asker)
    answer_soon("approved", "yes")
    result = ask("approved", asker, towerlog.openai_agents.answer(result, timeout=60))
    assert result.final_output == "Done."
    assert "published cold" in str(result.to_input_list())


def denied() -> None:
    asker = agent("press", {"publish": {"text": "cold"}}, "Pity.", tools=[publish])
    result = ask("denied", asker)
    answer_soon("denied", "not on a Sunday")

    async def go_on() -> Any:
        return await Runner.run(asker, await towerlog.openai_agents.aanswer(result), run_config=config("denied"))

    assert "not on a Sunday" in str(on_a_loop(go_on).to_input_list())


def decided_here() -> None:
    asker = agent("press", {"publish": {"text": "cold"}}, "Done.", tools=[publish])
    result = ask("decided_here", asker)
    state = result.to_state()
    for item in result.interruptions:
        state.approve(item)
    assert ask("decided_here", asker, state).final_output == "Done."


def press() -> Agent:
    calls = [{"publish": {"text": "cold"}}, {"publish": {"text": "windy"}}]
    return agent("press", *calls, "Done.", tools=[publish])


def written_here() -> None:
    """Each state is written down and read again before the run goes on."""
    result = ask("written_here", press())
    while result.interruptions:
        result = go_on("written_here", json.loads(json.dumps(result.to_state().to_json())))
    assert result.final_output == "Done."


def written_elsewhere() -> None:
    """The same, each time by another process."""
    result = ask("written_elsewhere", press())
    told = result.to_state().to_string()
    assert towerlog.flush(60)
    for _ in range(2):
        done = subprocess.run([sys.executable, __file__, told], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        told = done.stdout.splitlines()[-1]
    assert told == "Done."


def go_on(thread: str, told: Any) -> Any:
    """The run goes on with a state that was read, in which all is approved."""
    asker = press()

    async def act() -> Any:
        state = await RunState.from_json(asker, told)
        for item in state.get_interruptions():
            state.approve(item)
        return await Runner.run(asker, state, run_config=config(thread))

    return on_a_loop(act)


def elsewhere(told: str) -> None:
    result = go_on("written_elsewhere", json.loads(told))
    said = json.dumps(result.to_state().to_json()) if result.interruptions else result.final_output
    sys.stdout.write(f"{said}\n")


def again() -> Agent:
    """It calls the same once more after a no."""
    return agent("press", {"publish": {"text": "cold"}}, {"publish": {"text": "cold"}}, "Pity.", tools=[publish])


def both() -> Agent:
    calls = {"publish": {"text": "cold"}, "retract": {"text": "warm"}}
    return agent("press", calls, "?", "Done.", tools=[publish, retract])


def in_a_process(thread: str, who: str, rejected: str, told: str) -> None:
    """Another process goes on with a state, rejects the calls of a tool in it, and asks people about others."""
    command = [sys.executable, __file__, thread, who, rejected, told]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def with_people(thread: str, who: str, rejected: str, told: str) -> None:
    asker = {"press": press, "again": again, "both": both, "nested": nested}[who]()

    async def act() -> None:
        state = await RunState.from_json(asker, json.loads(told))
        for item in state.get_interruptions():
            if item.name == rejected:
                state.reject(item)
        result = await Runner.run(asker, state, run_config=config(thread))
        while result.interruptions:
            if rejected == "publish":
                answer_soon(thread, "not now")
            state = await towerlog.openai_agents.aanswer(result, timeout=60)
            result = await Runner.run(asker, state, run_config=config(thread))

    on_a_loop(act)


def answered_meanwhile() -> None:
    """The answers are given while no process waits for them."""
    told = ask("answered_meanwhile", both()).to_state().to_string()
    answer_now("answered_meanwhile", "yes", "not warm")
    in_a_process("answered_meanwhile", "both", "", told)


def half_answered_meanwhile() -> None:
    """One is answered, and the program itself decides on the other."""
    told = ask("half_answered_meanwhile", both()).to_state().to_string()
    answer_now("half_answered_meanwhile", "yes")
    in_a_process("half_answered_meanwhile", "both", "retract", told)


def overruled() -> None:
    """The program rejects what a person has approved, and the model tries once more."""
    told = ask("overruled", again()).to_state().to_string()
    answer_now("overruled", "yes")
    in_a_process("overruled", "again", "publish", told)


def decided_and_written() -> None:
    """The answers are in the state that is written; the process that has them does not go on."""
    result = ask("decided_and_written", both())
    answer_now("decided_and_written", "yes", "not warm")
    told = towerlog.openai_agents.answer(result, timeout=60).to_string()
    in_a_process("decided_and_written", "both", "", told)


def sender(number: int) -> Any:
    @function_tool(needs_approval=True, name_override=f"send_{number}")
    def send(text: str) -> str:
        return f"sent {text}"

    return send


def many() -> None:
    """More calls wait for people at once than a server keeps answers of."""
    calls = {f"send_{number}": {"text": "cold"} for number in range(MANY)}
    asker = agent("press", calls, "Done.", tools=[sender(number) for number in range(MANY)])
    result = ask("many", asker)
    while result.interruptions:
        answer_now("many", *["yes"] * MANY)
        result = ask("many", asker, towerlog.openai_agents.answer(result, timeout=60))
    assert result.final_output == "Done."


class Silent(Model):
    """A model that tells no usage, as servers do that stream without it."""

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        text = ResponseOutputText(text="Cold.", type="output_text", annotations=[])
        said = ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")
        return ModelResponse(output=[said], usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


def unknown_usage() -> None:
    assert ask("unknown_usage", Agent(name="forecaster", model=Silent())).final_output == "Cold."


def failed() -> None:
    endless = agent("endless", {"weather": {"city": "Oslo"}}, tools=[weather])
    with contextlib.suppress(MaxTurnsExceeded):
        ask("failed", endless, max_turns=1)


def cancelled() -> None:
    @function_tool
    def stop() -> str:
        """Somebody cancels the run meanwhile."""
        run = towerlog.current_run()
        run.step("mark")
        towerlog.flush(30)
        with towerlog.Client() as client:
            client.cancel_run(run.run_id, reason="never mind")
        while not run.cancelled:
            run.step("mark")
            towerlog.flush(30)
        return "stopped"

    with contextlib.suppress(Exception):
        ask("cancelled", agent("long", {"stop": {}}, "too far", tools=[stop]))
        raise SystemExit("it was not cancelled")


def answering(**told: Any) -> Any:
    """A client whose server answers with this, besides what each response has."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            body: dict[str, Any] = {**RESPONSE, "id": f"resp_{next(numbers)}", **told}
            said, kind = json.dumps(body), "application/json"
            if asked.get("stream"):
                event = {"type": f"response.{body['status']}", "sequence_number": 0, "response": body}
                said, kind = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n", "text/event-stream"
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return AsyncOpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="k", max_retries=0)


def by(client: AsyncOpenAI) -> Agent:
    return Agent(name="forecaster", model=OpenAIResponsesModel("gpt-5", client))


def served_flexibly() -> None:
    ask("served_flexibly", by(answering(service_tier="flex")))


def chatting(thread: str, *, streams: bool) -> None:
    """By chat completions, of which the SDK keeps neither the terms nor the cost nor the audio."""

    async def run() -> None:
        asker = Agent(name="forecaster", model=OpenAIChatCompletionsModel("flex-offline", AsyncOpenAI(max_retries=0)))
        settings = RunConfig(group_id=thread, model_settings=ModelSettings(include_usage=True))
        if streams:
            found = Runner.run_streamed(asker, "Oslo?", run_config=settings)
            assert [event async for event in found.stream_events()]
        else:
            found = await Runner.run(asker, "Oslo?", run_config=settings)
        assert found.final_output == "It is cold."

    on_a_loop(run)


def chatted() -> None:
    chatting("chatted", streams=False)
    chatting("chatted_streamed", streams=True)


def told_by_both() -> None:
    ask("told_by_both", by(towerlog.wrap(answering())))


def answered_badly() -> None:
    for status in ("failed", "incomplete"):
        with contextlib.suppress(ModelBehaviorError):
            ask(f"{status}_response", by(answering(status=status, error={"code": "server_error", "message": "boom"})))


async def streamed_badly() -> None:
    with contextlib.suppress(ModelBehaviorError):
        result = Runner.run_streamed(
            by(answering(status="failed", error={"code": "server_error", "message": "boom"})),
            "Oslo?",
            run_config=config("failed_stream"),
        )
        async for _ in result.stream_events():
            pass


def read_by_a_client() -> None:
    """Without the SDK: a wrapped client reads a response that has failed."""

    async def read() -> None:
        client = towerlog.wrap(answering(status="failed", error={"code": "server_error", "message": "boom"}))
        with towerlog.record_run(agent="reader", thread="read_by_a_client"):
            await client.responses.create(model="gpt-5", input="Oslo?")

    on_a_loop(read)


def broken_adapter() -> None:
    kept = hooks_module.text_of
    hooks_module.text_of = lambda items: 1 / 0
    try:
        assert ask("broken_adapter", agent("forecaster", "Cold.")).final_output == "Cold."
    finally:
        hooks_module.text_of = kept


def main(url: str) -> None:
    # Nothing is to leave this machine; spans are made all the same.
    set_trace_processors([])
    towerlog.openai_agents.install()
    towerlog.openai_agents.install()
    found = [tools, sync, streamed, handoff, agent_as_tool, approved, denied, decided_here, failed, cancelled]
    found += [written_here, written_elsewhere, unknown_usage, served_flexibly, chatted, told_by_both, answered_badly]
    found += [answered_meanwhile, half_answered_meanwhile, overruled, decided_and_written]
    found += [three_ways, inner_asks, inner_asks_elsewhere, inner_is_cancelled, streams_left]
    found += [many, lambda: on_a_loop(streamed_badly), read_by_a_client]
    for scenario in (*found, broken_adapter):
        os.environ.update(OPENAI_BASE_URL=f"{url}/v1", OPENAI_API_KEY="k")
        scenario()


if __name__ == "__main__":
    if sys.argv[1:]:
        set_trace_processors([])
        towerlog.openai_agents.install()
        (elsewhere if len(sys.argv) == 2 else with_people)(*sys.argv[1:])
    else:
        with provider() as address:
            main(address)
    assert towerlog.flush(60), towerlog.status()
