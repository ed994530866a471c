"""A model server with the chat API that agents speak: it answers by rules, and counts what it has charged.

What it answers depends on the last message alone, so that a conversation that was cut off and begun again goes the same
way.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OUTPUT_TOKENS = 7
TOKENS_PER_MESSAGE = 100
SUB_AGENT = "You are a focused sub-agent"
ROUTER = "You are a routing assistant"


class ModelServer:
    """Serves until closed. `calls`: (input, output) tokens of each call, in order."""

    def __init__(self) -> None:
        """Listens on a port of its own."""
        self.calls: list[tuple[int, int]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.calls))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def tokens(self) -> tuple[int, int]:
        """Input and output tokens of all calls."""
        return sum(call[0] for call in self.calls), sum(call[1] for call in self.calls)

    def close(self) -> None:
        """Stops serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def answer(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The assistant's message. `remember` and `delegate` in a person's words lead to a tool call."""
    last = messages[-1]
    text = last.get("content") or ""
    if last["role"] == "tool":
        return _said(f"done: {text[:40]}")
    if any(SUB_AGENT in (message.get("content") or "") for message in messages):
        return _said("the scout has found it")
    if ROUTER in text:
        return _said("writer")
    if "remember" in text:
        return _called("memory_save", content="a fact")
    if "delegate" in text:
        return _called("sub_agent", task="look it up", label="scout")
    return _said(f"you said {len(messages)}")


def _said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _called(name: str, **arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }


def _handler(calls: list[tuple[int, int]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            message = answer(sent["messages"])
            used = (TOKENS_PER_MESSAGE * len(sent["messages"]), OUTPUT_TOKENS)
            calls.append(used)
            body = json.dumps(
                {
                    "id": f"call-{len(calls)}",
                    "object": "chat.completion",
                    "created": 1,
                    "model": sent["model"],
                    "choices": [
                        {
                            "index": 0,
                            "message": message,
                            "finish_reason": "tool_calls" if "tool_calls" in message else "stop",
                        }
                    ],
                    "usage": {"prompt_tokens": used[0], "completion_tokens": used[1], "total_tokens": sum(used)},
                }
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing: what the agents did stands in the log of the server under test."""

    return Handler
