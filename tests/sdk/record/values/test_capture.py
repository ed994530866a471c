"""Without content a run tells that something was said, of which kind and how much, and not what."""

from __future__ import annotations

import pytest

from tests.sdk.support.sinks import ListSink
from towerlog.sdk.record.run_handles import Run
from towerlog.sdk.record.values.capture import VARIABLE, captures_content


def tell_all(run: Run) -> None:
    with run.tool_call("search", arguments={"q": "secret"}) as call:
        call.result = ["secret"]
    with run.start_model_call("m", messages=["secret"]) as asked:
        asked.delta("secret")
        asked.response = "secret"
        asked.usage = {"input_tokens": 3, "output_tokens": 1}


@pytest.mark.parametrize("word", ["off", "OFF", "false", "no", "0"])
def test_without_content_only_metadata_is_told(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv(VARIABLE, word)
    sink = ListSink()
    tell_all(Run(sink, "r1"))
    assert "secret" not in str(sink.events)
    assert sink.types == ["tool.call", "tool.result", "model.call"]
    assert (sink.data[-1]["input_tokens"], sink.data[-1]["output_tokens"]) == (3, 1)
    assert "time_to_first_token_ms" in sink.data[-1]


@pytest.mark.parametrize("word", ["", "on", "true", "1"])
def test_content_is_told_unless_it_is_switched_off(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv(VARIABLE, word)
    assert captures_content()
    sink = ListSink()
    tell_all(Run(sink, "r1"))
    assert str(sink.events).count("secret") == 5


def test_what_a_program_tells_on_purpose_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question cannot be answered, and a checkpoint not be resumed from, without what they say."""
    monkeypatch.setenv(VARIABLE, "off")
    sink = ListSink()
    run = Run(sink, "r1")
    run.checkpoint([{"role": "user", "content": "secret"}])
    run.step("mark", "secret")
    run.finish("secret")
    assert str(sink.events).count("secret") == 3
