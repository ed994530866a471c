"""A program that uses the clients of OpenAI and Anthropic; each function reports in a thread of its name."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import anthropic
import openai
from pydantic import BaseModel

import towerlog
from tests.sdk.integrations.clients.provider import provider
from towerlog.sdk.integrations.clients import calls as calls_module

OSLO = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Oslo?"}]
ASKED: dict[str, Any] = {"model": "gpt-offline", "messages": OSLO}
TOLD: dict[str, Any] = {"model": "claude", "max_tokens": 100, "system": "Be brief.", "messages": OSLO[1:]}


def sync_openai(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(**ASKED)
    assert whole.choices[0].message.content == "It is cold."
    text = [chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**ASKED, stream=True)]
    assert "".join(text) == "It is cold.", "a chunk without choices was not asked for by the program"
    told = {"stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(**ASKED, stream=True, **told))
    assert chunks[-1].choices == [], "the program has asked for it"
    assert client.responses.create(model="gpt-offline", input="Oslo?").output_text == "It is cold."
    events = list(client.responses.create(model="gpt-offline", input="Oslo?", stream=True))
    assert events[-1].type == "response.completed"
    with client.responses.stream(model="gpt-offline", input="Oslo?") as stream:
        assert stream.get_final_response().output_text == "It is cold."
    client.embeddings.create(model="embed-1", input="Oslo")


def raw_openai(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(**ASKED)
    assert raw.parse().choices[0].message.content == "It is cold."
    other = client.with_options(timeout=20)
    assert other.chat.completions.create(**ASKED).choices[0].message.content == "It is cold."


class Weather(BaseModel):
    degrees: int


def unparsed_openai(client: openai.OpenAI) -> None:
    """The provider says a sentence, which is no such object."""
    with contextlib.suppress(ValueError):
        client.chat.completions.parse(**ASKED, response_format=Weather)
        raise AssertionError("a sentence has been parsed")
    with contextlib.suppress(ValueError):
        client.responses.parse(model="gpt-offline", input="Oslo?", text_format=Weather)
    raw = client.chat.completions.with_raw_response.parse(**ASKED, response_format=Weather)
    with contextlib.suppress(ValueError):
        raw.parse()
    cut = [*OSLO, {"role": "user", "content": "cut"}]
    with contextlib.suppress(openai.LengthFinishReasonError):
        client.chat.completions.parse(model="gpt-offline", messages=cut, response_format=Weather)


async def unparsed_anthropic(client: anthropic.AsyncAnthropic, blocking: anthropic.Anthropic) -> None:
    with contextlib.suppress(ValueError):
        await client.messages.parse(**TOLD, output_format=Weather)
    with contextlib.suppress(ValueError):
        blocking.messages.parse(**TOLD, output_format=Weather)


def raw_streams_openai(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(**ASKED, stream=True)
    assert raw.parse() is raw.parse(), "one stream"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse()) == "It is cold."
    raw = client.responses.with_raw_response.create(model="gpt-offline", input="Oslo?", stream=True)
    assert [event.type for event in raw.parse()][-1] == "response.completed"
    with client.chat.completions.with_streaming_response.create(**ASKED) as reply:
        assert reply.parse().choices[0].message.content == "It is cold."
    with client.chat.completions.with_streaming_response.create(**ASKED, stream=True) as reply:
        assert len(list(reply.parse())) == 4


async def raw_streams_async_openai(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(**ASKED, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in raw.parse()]) == "It is cold."
    async with client.chat.completions.with_streaming_response.create(**ASKED) as reply:
        assert (await reply.parse()).choices[0].message.content == "It is cold."


async def raw_anthropic(client: anthropic.AsyncAnthropic, blocking: anthropic.Anthropic) -> None:
    for made in (
        await client.messages.with_raw_response.create(**TOLD),
        await client.messages.with_raw_response.create(**TOLD, stream=True),
        blocking.messages.with_raw_response.create(**TOLD, stream=True),
    ):
        found = made.parse()
        found = await found if inspect.isawaitable(found) else found
        if hasattr(found, "__aiter__"):
            assert len([event async for event in found]) > 5
        else:
            assert getattr(found, "content", None) or len(list(found)) > 5


def unread_raw_openai(client: openai.OpenAI) -> None:
    """The program reads the lines itself."""
    raw = client.chat.completions.with_raw_response.create(**ASKED, stream=True)
    assert [line for line in raw.http_response.iter_lines() if line][-1] == "data: [DONE]"


def closed_openai(client: openai.OpenAI) -> None:
    kept = client.chat.completions.create(**ASKED, stream=True)
    next(kept)
    kept.close()
    with client.chat.completions.stream(**ASKED) as stream:
        next(iter(stream))
    with client.chat.completions.create(**ASKED, stream=True) as stream:
        assert len(list(stream)) == 4, "one that is read to its end was not left"


async def closed_anthropic(client: anthropic.AsyncAnthropic) -> None:
    async with client.messages.stream(**TOLD) as stream:
        async for _ in stream:
            break


async def async_openai(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(**ASKED)
    assert whole.choices[0].message.content == "It is cold."
    stream = await client.chat.completions.create(**ASKED, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "It is cold."


def sync_anthropic(client: anthropic.Anthropic) -> None:
    assert client.messages.create(**TOLD).content[0].text == "It is cold."
    assert len(list(client.messages.create(**TOLD, stream=True))) > 5
    with client.messages.stream(**TOLD) as stream:
        assert "".join(stream.text_stream) == "It is cold."


async def async_anthropic(client: anthropic.AsyncAnthropic) -> None:
    assert (await client.messages.create(**TOLD)).content[0].text == "It is cold."
    async with client.messages.stream(**TOLD) as stream:
        assert "".join([text async for text in stream.text_stream]) == "It is cold."


def in_run(thread: str, work: Callable[[], Any]) -> None:
    with towerlog.record_run(agent="asker", thread=thread):
        found = work()
        if found is not None:
            asyncio.run(found)


def main(url: str) -> None:
    settings: dict[str, Any] = {"base_url": f"{url}/v1", "api_key": "k", "max_retries": 0}
    client = openai.OpenAI(**settings)
    assert client.chat.completions is not None, "used before it is wrapped"
    assert towerlog.wrap(client, "lone asker", stream_usage=True) is client
    towerlog.wrap(client)
    in_run("sync_openai", lambda: sync_openai(client))
    in_run("raw_openai", lambda: raw_openai(client))
    in_run("unparsed_openai", lambda: unparsed_openai(client))
    in_run("raw_streams_openai", lambda: raw_streams_openai(client))
    in_run("unread_raw_openai", lambda: unread_raw_openai(client))
    in_run("closed_openai", lambda: closed_openai(client))
    for asked in (async_openai, raw_streams_async_openai):
        own = towerlog.wrap(openai.AsyncOpenAI(**settings), stream_usage=True)
        in_run(asked.__name__, lambda asked=asked, own=own: asked(own))
    settings["base_url"] = url
    claude = towerlog.wrap(anthropic.Anthropic(**settings))
    for work in (unparsed_anthropic, raw_anthropic):
        in_run(work.__name__, lambda work=work: work(towerlog.wrap(anthropic.AsyncAnthropic(**settings)), claude))
    in_run("closed_anthropic", lambda: closed_anthropic(towerlog.wrap(anthropic.AsyncAnthropic(**settings))))
    in_run("sync_anthropic", lambda: sync_anthropic(claude))
    in_run("async_anthropic", lambda: async_anthropic(towerlog.wrap(anthropic.AsyncAnthropic(**settings))))
    asked = {**ASKED, "messages": [*OSLO, {"role": "user", "content": "break"}]}
    with towerlog.record_run(agent="asker", thread="failing"), contextlib.suppress(openai.BadRequestError):
        client.chat.completions.create(**asked)
    with towerlog.record_run(agent="asker", thread="left early"):
        for _ in client.chat.completions.create(**ASKED, stream=True):
            break
    plain = towerlog.wrap(openai.OpenAI(base_url=f"{url}/v1", api_key="k"))
    with towerlog.record_run(agent="asker", thread="a stranger"):
        assert len(list(plain.chat.completions.create(**ASKED, stream=True))) == 4
    client.chat.completions.create(**ASKED)
    with towerlog.record_run(agent="asker", thread="broken adapter"):
        kept = calls_module.ENDPOINTS["openai"]["/chat/completions"].take
        calls_module.ENDPOINTS["openai"]["/chat/completions"].take = lambda *_: 1 / 0
        assert client.chat.completions.create(**ASKED).choices[0].message.content == "It is cold."
        calls_module.ENDPOINTS["openai"]["/chat/completions"].take = kept
    with contextlib.suppress(TypeError):
        towerlog.wrap(object())
        raise AssertionError("that is no client")


if __name__ == "__main__":
    with provider() as address:
        main(address)
    assert towerlog.flush(60), towerlog.status()
