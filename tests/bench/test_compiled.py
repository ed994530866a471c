"""Reading the compiled tools' results: a round in which anything went wrong is void."""

import json

import pytest

from bench.compiled import ToolFailed, parse_load

GOOD = {
    "reqs": 1000,
    "secs": 2.0,
    "rps": 500.0,
    "p50_us": 1500,
    "p90_us": 2000,
    "p99_us": 4250,
    "max_us": 9000,
    "s2xx": 1000,
    "s3xx": 0,
    "s4xx": 0,
    "s5xx": 0,
    "errors": 0,
    "reconnects": 0,
    "bytes_in": 1,
    "client_cpu": 0.5,
    "first_err": "",
}


def test_latencies_come_out_in_milliseconds() -> None:
    load = parse_load(json.dumps(GOOD))
    assert (load.requests, load.requests_per_second, load.p50_ms, load.p99_ms) == (1000, 500.0, 1.5, 4.25)


@pytest.mark.parametrize("name", ["s3xx", "s4xx", "s5xx", "errors"])
def test_one_reply_that_was_no_success_voids_the_round(name: str) -> None:
    line = json.dumps({**GOOD, name: 1, "first_err": "HTTP/1.1 503 busy"})
    with pytest.raises(ToolFailed, match="503 busy"):
        parse_load(line)


def test_a_round_without_any_reply_is_void() -> None:
    with pytest.raises(ToolFailed, match="not every request"):
        parse_load(json.dumps({**GOOD, "s2xx": 0}))
