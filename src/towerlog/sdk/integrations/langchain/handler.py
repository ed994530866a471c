"""A LangChain callback handler that reports what it is told: `callbacks=[towerlog.langchain()]`.

The handler of the library is made when it is first asked for: importing this module needs no LangChain. Its methods
raise nothing but RunCancelled, which stops the chain before its next step.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from towerlog.sdk.integrations.guard import Guard, guarded
from towerlog.sdk.integrations.langchain import tree
from towerlog.sdk.integrations.langchain.answers import take_answer, take_failed
from towerlog.sdk.integrations.langchain.interrupts import Interrupts
from towerlog.sdk.integrations.langchain.messages import is_message, pieces_of, plain, result_of
from towerlog.sdk.integrations.langchain.tree import TREES, ActivePlace, Place
from towerlog.sdk.integrations.new_messages import ToldMessages
from towerlog.sdk.record.current import called_outside
from towerlog.sdk.record.default import default_recorder
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.spans.model_calls import ModelCall
from towerlog.sdk.record.spans.span import CANCELLATIONS
from towerlog.sdk.record.spans.tool_calls import ToolCall
from towerlog.sdk.record.values.capture import captures_content


def langchain(
    agent: str | None = None,
    thread: str | None = None,
    *,
    recorder: Recorder | None = None,
    run: BaseRun | None = None,
) -> Any:
    """A callback handler: `chain.invoke(…, config={"callbacks": [towerlog.langchain()]})`. Needs `langchain-core`.

    Each outermost call is a run of `agent`, by default the name of the chain or graph, in the thread that its
    configuration names. With `run`, all is reported to that one, which somebody else ends.
    """
    return handler_class()(agent, thread, recorder, run)


@functools.cache
def handler_class() -> Any:
    """The class of the handlers, which is one of the library's."""
    from langchain_core.callbacks import BaseCallbackHandler

    return type("TowerlogCallbackHandler", (ChainReports, BaseCallbackHandler), {"__doc__": "Reports to Towerlog."})


class ChainReports:
    """What the handler does when it is called."""

    raise_error = True
    """A cancel has to come through; nothing else is raised."""
    run_inline = True
    """Reporting never waits, and has to see events in their order."""

    def __init__(self, agent: str | None, thread: str | None, recorder: Recorder | None, run: BaseRun | None) -> None:
        super().__init__()
        self.guard = Guard("the adapter of LangChain")
        self._agent = agent
        self._thread = thread
        self._given = run
        self._recorder = recorder or default_recorder()
        self._tree = TREES.of(self._recorder)
        self._interrupts = Interrupts(self._tree)

    # Chains, nodes, graphs

    @guarded
    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        name: str | None = None,
        **_: Any,
    ) -> None:
        """A chain, a node or a graph begins."""
        named = name or name_in(serialized) or "chain"
        place = self._begin(run_id, parent_run_id, named, inputs, metadata)
        if place is None or place.up is None or not tree.is_node(tags):
            return
        graph = place.up
        if not graph.is_run and graph.up is not None:
            tree.become_run(graph, self._recorder)
            place.run, place.span_id, place.messages = graph.run, None, graph.messages
        if tree.HIDDEN not in (tags or ()) and not named.startswith("__"):
            step = place.run.step(named, span_id=str(run_id), parent=graph.span_id or "").begin()
            place.told, place.span_id = step, step.span_id

    @guarded
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        """Finishes the step or the run of a chain that has ended."""
        place = self._tree.take(run_id, self)
        if place is None:
            return
        if place.told is not None:
            place.told.finish()
        self._interrupts.went_on(place)
        if place.is_run and not self._interrupts.begin(place, outputs):
            place.run.finish(result_of(outputs) if place.run.captures_content else None)

    @guarded
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """It has failed; or it waits for somebody, which the library tells as an error."""
        place = self._tree.take(run_id, self)
        if place is None:
            return
        waits = self._interrupts.note(place, error)
        if place.told is not None:
            place.told.finish(None if waits else error)
        self._interrupts.went_on(place)
        if place.is_run and not (waits and self._interrupts.begin(place, None)):
            # A graph that hands over to the one around it has done its part; around the outermost one there is none.
            place.run.finish(error=None if waits and place.up is not None else error)

    # Models

    @guarded
    def on_chat_model_start(self, serialized: Any, messages: Sequence[Sequence[Any]], **told: Any) -> None:
        """A chat model is called."""
        self._model_starts(serialized, messages[0] if messages else (), **told)

    @guarded
    def on_llm_start(self, serialized: Any, prompts: Sequence[str], **told: Any) -> None:
        """A model that takes text is called."""
        self._model_starts(serialized, [{"role": "user", "content": prompt} for prompt in prompts], **told)

    def _model_starts(
        self,
        serialized: Any,
        messages: Sequence[Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        name: str | None = None,
        invocation_params: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        given, said = invocation_params or {}, metadata or {}
        model = said.get("ls_model_name") or given.get("model") or given.get("model_name")
        named = str(model or name or name_in(serialized) or "model")
        place = self._begin(run_id, parent_run_id, named, messages, metadata)
        if place is None:
            return
        span_id = str(run_id)
        asked = {}
        if place.run.captures_content:
            asked = place.messages.members(str(said.get("langgraph_node") or ""), span_id, messages)
        provider = said.get("ls_provider")
        place.told = place.run.start_model_call(
            named, span_id=span_id, parent=place.span_id or "", provider=provider, **asked
        )

    @guarded
    def on_llm_new_token(self, token: Any, *, run_id: UUID, chunk: Any = None, **_: Any) -> None:
        """A piece of a model's text."""
        place = self._tree.find(run_id, self)
        if place is None or not isinstance(place.told, ModelCall):
            return
        message = getattr(chunk, "message", None)
        place.usage.note(getattr(message, "usage_metadata", None))
        pieces = pieces_of(token if message is None else message.content)
        for channel, text in (("thinking", pieces.thinking), ("text", pieces.text)):
            if text:
                place.said = True
                place.told.delta(text, channel)

    @guarded
    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        """A model has answered."""
        place = self._tree.take(run_id, self)
        if place is None or not isinstance(place.told, ModelCall):
            return
        call, generation = place.told, first_generation(response)
        message = getattr(generation, "message", None)
        text = getattr(generation, "text", "") if message is None else pieces_of(message.content).text
        if text and not place.said:
            place.run.message_delta(text, span=call)
        take_answer(call, response, message, text, place.usage)
        call.finish()
        if place.is_run:
            place.run.finish(text if place.run.captures_content else None)

    @guarded
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """A model has failed, or nobody wants its answer any more."""
        self._call_fails(run_id, error)

    # Tools and retrievers

    @guarded
    def on_tool_start(
        self,
        serialized: Any,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        tool_call_id: str | None = None,
        name: str | None = None,
        **_: Any,
    ) -> None:
        """A tool is called."""
        named = name or name_in(serialized) or "tool"
        self._tool_starts(named, input_str if inputs is None else inputs, run_id, parent_run_id, metadata, tool_call_id)

    @guarded
    def on_retriever_start(
        self,
        serialized: Any,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        name: str | None = None,
        **_: Any,
    ) -> None:
        """Documents are looked for: a call of a tool."""
        named = name or name_in(serialized) or "retriever"
        self._tool_starts(named, {"query": query}, run_id, parent_run_id, metadata, None)

    def _tool_starts(
        self,
        named: str,
        arguments: Any,
        run_id: UUID,
        parent_run_id: UUID | None,
        metadata: Mapping[str, Any] | None,
        tool_call_id: str | None,
    ) -> None:
        place = self._begin(run_id, parent_run_id, named, arguments, metadata)
        if place is None:
            return
        call = place.run.tool_call(
            named, plain(arguments), tool_call_id=tool_call_id, span_id=str(run_id), parent=place.span_id or ""
        )
        place.told, place.span_id = call.begin(), call.span_id

    @guarded
    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """A tool has a result."""
        self._tool_ends(
            output.content if is_message(output) else plain(output), getattr(output, "status", None), run_id
        )

    @guarded
    def on_retriever_end(self, documents: Sequence[Any], *, run_id: UUID, **_: Any) -> None:
        """Documents were found."""
        self._tool_ends([getattr(document, "page_content", document) for document in documents], None, run_id)

    def _tool_ends(self, result: Any, status: str | None, run_id: UUID) -> None:
        place = self._tree.take(run_id, self)
        if place is None or not isinstance(place.told, ToolCall):
            return
        if status == "error":
            place.told.fail(result)
        else:
            place.told.result = result
        place.told.finish()
        if place.is_run:
            place.run.finish(result if place.run.captures_content else None)

    @guarded
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """A tool has failed, or waits for somebody."""
        self._call_fails(run_id, error)

    @guarded
    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """A retriever has failed."""
        self._call_fails(run_id, error)

    def _call_fails(self, run_id: UUID, error: BaseException) -> None:
        place = self._tree.take(run_id, self)
        if place is None or not isinstance(place.told, ToolCall | ModelCall):
            return
        if self._interrupts.note(place, error):
            if place.outermost().interrupts:
                place.told.interrupt("waits for a person")
            else:
                place.told.finish()
        elif isinstance(error, CANCELLATIONS):
            place.told.interrupt(error)
        elif isinstance(place.told, ToolCall):
            place.told.fail(error)
            place.told.finish()
        else:
            take_failed(place.told, error)
            place.told.finish(error)
        if place.is_run:
            place.run.finish(error=error)

    @guarded
    def on_custom_event(self, name: str, data: Any, *, run_id: UUID, **_: Any) -> None:
        """A program tells something of its own."""
        place = self._tree.above(run_id)
        if place is not None and place.owner is self:
            place.run.step(name, data if place.run.captures_content else None, parent=place.span_id or "")

    # Questions

    def answer(self, result: Any, timeout: float | None = None) -> Any:
        """Waits for people to answer what a graph was interrupted by; the `Command` with which it goes on.

        `result`: what `invoke` has returned. Raises RunCancelled, and TimeoutError after `timeout` seconds.
        """
        return self._interrupts.answered(result, timeout)

    async def aanswer(self, result: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109 as `answer` has it
        """As `answer`, awaited."""
        return await self._interrupts.answered_async(result, timeout)

    def _begin(
        self, run_id: UUID, parent_run_id: UUID | None, named: str, inputs: Any, metadata: Mapping[str, Any] | None
    ) -> Place | None:
        """Adds a callback run to the tree; None where another handler has done so. Raises RunCancelled."""
        if self._tree.knows(run_id):
            return None
        caller = parent_run_id if parent_run_id is not None else tree.around()
        up = self._tree.above(caller)
        if up is None:
            if caller is None:
                # Of a batch all calls begin in one context: none of them has called another.
                place = called_outside(ActivePlace, self._outermost, named, inputs, metadata)
            else:
                place = self._outermost(named, inputs, metadata)
            place.entered = ActivePlace(place.run, self._tree)
        else:
            place = Place(self, named, up.run, up.messages, up, inputs, up.span_id)
        # Whoever is cancelled learns of it where something new would begin.
        for run in {id(one): one for one in (place.run, place.outermost().run)}.values():
            run.check()
        self._tree.add(run_id, place)
        return place

    def _outermost(self, named: str, inputs: Any, metadata: Mapping[str, Any] | None) -> Place:
        """A run: that which waits in this thread, the one that the handler was given, or a new one."""
        thread = self._thread or tree.thread_in(metadata)
        told = ToldMessages(plain)
        if self._given is not None:
            return Place(self, named, self._given, told, None, inputs, thread=thread)
        waiting = self._interrupts.goes_on(thread, inputs, self._agent or named, self._recorder)
        if waiting is not None:
            return Place(
                self, named, waiting.run, told, None, inputs, is_run=True, thread=thread,
                suspended=waiting.suspended, before=waiting,
            )  # fmt: skip
        # The library says so where the input is a stream, of which nothing has come yet.
        unknown = inputs == {"input": ""} or not captures_content()
        run = self._recorder.start_run(self._agent or named, thread, None if unknown else plain(inputs))
        return Place(self, named, run, told, None, inputs, is_run=True, thread=thread)


def name_in(serialized: Any) -> str | None:
    """The name that a component tells of itself."""
    if not isinstance(serialized, Mapping):
        return None
    path = serialized.get("id")
    return serialized.get("name") or (path[-1] if isinstance(path, list) and path else None)


def first_generation(response: Any) -> Any:
    """The first of the answers that a model has given."""
    for generations in getattr(response, "generations", None) or ():
        for generation in generations:
            return generation
    return None
