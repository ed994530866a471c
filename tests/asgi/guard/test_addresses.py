"""Addresses: what a stranger writes about himself is never believed."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from towerlog.asgi.guard.addresses import Addresses, counted_as


def scope(client: str | None, *forwarded: str, **more: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]
    return {"client": None if client is None else (client, 1), "headers": headers}


@pytest.mark.parametrize("forged", ["1.2.3.4", "1.2.3.4, 5.6.7.8", "::1", "nonsense", "", "127.0.0.1"])
def test_nobody_is_believed_by_default(forged: str) -> None:
    assert Addresses().of(scope("203.0.113.9", forged)) == "203.0.113.9"
    assert Addresses("10.0.0.1").of(scope("203.0.113.9", forged)) == "203.0.113.9"


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        (("203.0.113.9",), "203.0.113.9"),
        (("6.6.6.6, 203.0.113.9",), "203.0.113.9"),
        (("6.6.6.6, 203.0.113.9, 10.0.0.2",), "203.0.113.9"),
        (("6.6.6.6", "203.0.113.9"), "203.0.113.9"),
        (("6.6.6.6, nonsense",), "10.0.0.1"),
        (("203.0.113.9, unknown, 10.0.0.2",), "10.0.0.2"),
        (("10.0.0.3, 10.0.0.2",), "10.0.0.3"),
        (("2001:db8::1",), "2001:db8::1"),
        (("203.0.113.9:4711",), "203.0.113.9"),
        (("203.0.113.9, 10.0.0.2:80",), "203.0.113.9"),
        (("[2001:db8::1]:443",), "2001:db8::1"),
        (("[2001:db8::1]",), "2001:db8::1"),
        (("203.0.113.9:x",), "10.0.0.1"),
        (("[2001:db8::1",), "10.0.0.1"),
        (("",), "10.0.0.1"),
        ((), "10.0.0.1"),
    ],
)
def test_past_a_trusted_proxy_the_right_most_stranger_counts(forwarded: tuple[str, ...], expected: str) -> None:
    assert Addresses("10.0.0.0/8, ::1").of(scope("10.0.0.1", *forwarded)) == expected


def test_a_request_without_an_address_is_one_of_the_unknown() -> None:
    assert Addresses().of(scope(None)) == "unknown"


@pytest.mark.parametrize("wrong", ["nonsense", "10.0.0.0/99", "10.0.0.1;10.0.0.2"])
def test_a_proxy_that_is_no_address_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError):
        Addresses(wrong)


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_a_whole_ipv6_network_is_counted_as_one(text: str, counted: str) -> None:
    assert counted_as(text) == counted


@pytest.mark.parametrize(
    ("given", "trusted", "expected"),
    [
        (scope("127.0.0.1"), "", True),
        (scope("::1"), "", True),
        (scope("::ffff:127.0.0.1"), "", True),
        (scope("203.0.113.9"), "", False),
        (scope(None), "", False),
        (scope("127.0.0.1", "203.0.113.9"), "", False),
        (scope("127.0.0.1", forwarded="for=203.0.113.9"), "", False),
        (scope("127.0.0.1", x_real_ip="203.0.113.9"), "", False),
        (scope("127.0.0.1", "203.0.113.9"), "127.0.0.1", False),
        (scope("127.0.0.1", "127.0.0.1"), "127.0.0.1", True),
        (scope("127.0.0.1", "127.0.0.1:4711"), "127.0.0.1", True),
        (scope("127.0.0.1"), "127.0.0.1", False),
        (scope("127.0.0.1", ""), "127.0.0.1", False),
        (scope("127.0.0.1", "nonsense"), "127.0.0.1", False),
        (scope("127.0.0.1", "nonsense, 127.0.0.1"), "127.0.0.1", False),
        (scope("127.0.0.1", "203.0.113.9:80"), "127.0.0.1", False),
        (scope("203.0.113.9", "127.0.0.1"), "", False),
    ],
)
def test_local_is_what_certainly_comes_from_here(given: dict[str, Any], trusted: str, expected: bool) -> None:
    assert Addresses(trusted).is_local(given) is expected


def test_what_is_too_long_for_an_address_is_none_and_is_not_remembered() -> None:
    """Behind a proxy strangers choose the text: a zone may be of any length."""
    behind = Addresses("10.0.0.1")
    tracemalloc.start()
    try:
        for n in range(200):
            for kind in ("fe80::1%", "nonsense"):
                assert behind.of(scope("10.0.0.1", f"{kind}{n}{'x' * 20_000}")) == "10.0.0.1"
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 2**20
    assert behind.of(scope("10.0.0.1", "fe80::1%eth0123456789ab")) == "fe80::1%eth0123456789ab"
