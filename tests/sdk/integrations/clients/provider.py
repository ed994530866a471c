"""A server that answers as OpenAI and Anthropic do, whole or in pieces, by the last words of what it is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OPENAI_USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 90,
    "total_tokens": 1290,
    "prompt_tokens_details": {"cached_tokens": 1000},
    "completion_tokens_details": {"reasoning_tokens": 40},
}
RESPONSE_USAGE = {
    "input_tokens": 1200,
    "output_tokens": 90,
    "total_tokens": 1290,
    "input_tokens_details": {"cached_tokens": 1000},
    "output_tokens_details": {"reasoning_tokens": 40},
}
ANTHROPIC_USAGE = {"input_tokens": 200, "cache_read_input_tokens": 1000, "output_tokens": 90}
GEMINI_USAGE = {
    "promptTokenCount": 1200,
    "cachedContentTokenCount": 1000,
    "candidatesTokenCount": 50,
    "thoughtsTokenCount": 40,
    "totalTokenCount": 1290,
}
WORDS = ("It ", "is ", "cold.")


def wanted(names: list[str], told: Any) -> dict[str, Any] | None:
    """The tool that is called of those that are there: `weather` until it has answered, then one for the end."""
    if "weather" in names and "cold in" not in json.dumps(told):
        return {"name": "weather", "arguments": {"city": "Oslo"}}
    return {"name": "final_answer", "arguments": {"answer": "It is cold."}} if "final_answer" in names else None


def chat(body: dict[str, Any]) -> list[Any]:
    """A whole answer, or its pieces. A model `flex-…` is served on these terms, with audio in its input and a cost."""
    tool = wanted([one["function"]["name"] for one in body.get("tools") or ()], body["messages"])
    # Each answer has an id of its own, as of a provider.
    base = {"id": f"c{len(body['messages'])}", "created": 1, "model": "gpt-offline-2026"}
    usage = OPENAI_USAGE
    if body["model"].startswith("flex-"):
        base["service_tier"] = "flex"
        usage = {**usage, "cost": 0.5, "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 7}}
    message, finish_reason = {"role": "assistant", "content": "It is cold."}, "stop"
    if tool is not None:
        function = {"name": tool["name"], "arguments": json.dumps(tool["arguments"])}
        call = {"index": 0, "id": f"call_{tool['name']}", "type": "function", "function": function}
        message, finish_reason = {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"  # type: ignore[dict-item]
    if body["messages"][-1]["content"] == "cut":
        finish_reason = "length"
    if not body.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": finish_reason}
        return [{**base, "object": "chat.completion", "choices": [choice], "usage": usage}]
    deltas = [{"reasoning_content": "Norway."}, *({"content": word} for word in WORDS)]
    deltas = deltas if tool is None else [message]  # type: ignore[list-item]
    pieces = [{**base, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": one}]} for one in deltas]
    pieces[-1]["choices"][0]["finish_reason"] = finish_reason  # type: ignore[index]
    if (body.get("stream_options") or {}).get("include_usage"):
        pieces.append({**base, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    return [*pieces, "[DONE]"]


def output(body: dict[str, Any]) -> list[dict[str, Any]]:
    """What is answered: what the instructions say as a list, by how many tools have answered so far; else a text.

    A text is said; `{"weather": {"city": "Oslo"}}` calls that tool, with several names several.
    """
    given = body.get("input")
    told = sum(item.get("type") == "function_call_output" for item in given) if isinstance(given, list) else 0
    script = json.loads(body.get("instructions") or "[]") if str(body.get("instructions")).startswith("[") else []
    said = script[min(told, len(script) - 1)] if script else "It is cold."
    if isinstance(said, str):
        part = {"type": "output_text", "text": said, "annotations": []}
        return [{"id": "m1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}]
    return [
        {
            "type": "function_call",
            "id": f"fc_{name}_{told}",
            "call_id": f"call_{name}_{told}",
            "name": name,
            "arguments": json.dumps(arguments),
            "status": "completed",
        }
        for name, arguments in said.items()
    ]


def responses(body: dict[str, Any]) -> list[Any]:
    """A whole answer, or its events."""
    whole = {
        "id": "r1",
        "object": "response",
        "created_at": 1,
        "model": "gpt-offline-2026",
        "status": "completed",
        "output": output(body),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": RESPONSE_USAGE,
    }
    if not body.get("stream"):
        return [whole]
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    events = [{"type": "response.created", "response": begun}]
    for index, item in enumerate(whole["output"]):
        events += _item_events(index, item)
    events.append({"type": "response.completed", "response": whole})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _item_events(index: int, item: dict[str, Any]) -> list[dict[str, Any]]:
    """How one item of the output comes."""
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    added = {"type": "response.output_item.added", "output_index": index, "item": {**item, "status": "in_progress"}}
    done = {"type": "response.output_item.done", "output_index": index, "item": item}
    if item["type"] != "message":
        return [added, done]
    added["item"]["content"] = []
    [part] = item["content"]
    words = [{"type": "response.output_text.delta", "delta": word, "logprobs": [], **place} for word in WORDS]
    return [added, {"type": "response.content_part.added", "part": {**part, "text": ""}, **place}, *words, done]


def messages(body: dict[str, Any]) -> list[Any]:
    """A whole answer, or its events."""
    base = {"id": "m1", "type": "message", "role": "assistant", "model": "claude-offline-1", "stop_sequence": None}
    if not body.get("stream"):
        content = [{"type": "text", "text": "It is cold."}]
        return [{**base, "content": content, "stop_reason": "end_turn", "usage": ANTHROPIC_USAGE}]
    begun = {**ANTHROPIC_USAGE, "output_tokens": 1}
    return [
        {"type": "message_start", "message": {**base, "content": [], "stop_reason": None, "usage": begun}},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""},
        },
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Norway."}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": word}} for word in WORDS),
        {"type": "content_block_stop", "index": 1},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 90},
        },
        {"type": "message_stop"},
    ]


def gemini(body: dict[str, Any]) -> list[Any]:
    """A whole answer of Gemini."""
    names = [one["name"] for tools in body.get("tools") or () for one in tools["functionDeclarations"]]
    tool = wanted(names, body["contents"])
    part = (
        {"text": "It is cold."} if tool is None else {"functionCall": {"name": tool["name"], "args": tool["arguments"]}}
    )
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    return [{"candidates": [candidate], "usageMetadata": GEMINI_USAGE, "modelVersion": "gemini-offline"}]


def embeddings(body: dict[str, Any]) -> list[Any]:
    """One vector."""
    data = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
    return [{"object": "list", "model": "embed-1", "data": data, "usage": {"prompt_tokens": 7, "total_tokens": 7}}]


ANSWERS = {
    "/v1/chat/completions": chat,
    "/v1/responses": responses,
    "/v1/messages": messages,
    "/v1/embeddings": embeddings,
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "break" in json.dumps(body):
            self._send(400, "application/json", json.dumps({"error": {"message": "no"}}).encode())
            return
        found = (gemini if self.path.startswith("/v1beta/") else ANSWERS[self.path])(body)
        if not body.get("stream"):
            self._send(200, "application/json", json.dumps(found[0]).encode())
            return
        events = (
            f"event: {one['type']}\ndata: {json.dumps(one)}\n\n"
            if isinstance(one, dict) and "type" in one
            else f"data: {one if isinstance(one, str) else json.dumps(one)}\n\n"
            for one in found
        )
        self._send(200, "text/event-stream", "".join(events).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def provider() -> Iterator[str]:
    """The address of one."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
