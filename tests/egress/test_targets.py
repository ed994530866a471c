"""URLs that may be posted to: the one spelling that each part has, and that no other reader sees another host."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.egress.hosts import is_local_name
from towerlog.egress.targets import BLOCKED_PORTS, MAX_URL_CHARS, BadTarget, Target, read_url


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("https://hooks.example.com", Target("https", "hooks.example.com", 443, "/"), "hooks.example.com"),
        ("HTTPS://Hooks.EXAMPLE.com:443/A?b=C", Target("https", "hooks.example.com", 443, "/A?b=C"), None),
        ("http://a.example:8080/x%2Fy?z", Target("http", "a.example", 8080, "/x%2Fy?z"), "a.example:8080"),
        ("https://a.example:80/", Target("https", "a.example", 80, "/"), "a.example:80"),
        ("https://a.example?q=1", Target("https", "a.example", 443, "/?q=1"), "a.example"),
        ("https://xn--bcher-kva.example/", Target("https", "xn--bcher-kva.example", 443, "/"), None),
        ("http://1.2.3.4/", Target("http", ip_address("1.2.3.4"), 80, "/"), "1.2.3.4"),
        ("https://[2606:4700::1111]:8443/", Target("https", ip_address("2606:4700::1111"), 8443, "/"), None),
        ("https://1and1.example/", Target("https", "1and1.example", 443, "/"), "1and1.example"),
        ("https://a.example//b", Target("https", "a.example", 443, "//b"), "a.example"),
        ("https://a.example/@b", Target("https", "a.example", 443, "/@b"), "a.example"),
    ],
)
def test_a_url_is_parted_once(url: str, target: Target, authority: str | None) -> None:
    assert read_url(url) == target
    assert authority is None or target.authority == authority


def test_an_ipv6_host_has_brackets_in_a_head_and_none_in_a_certificate() -> None:
    target = read_url("https://[2606:4700:0:0::1111]:8443/")
    assert (target.name, target.authority) == ("2606:4700::1111", "[2606:4700::1111]:8443")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://a.example/#x", "fragment"),
        ("https://u:p@a.example/", "user or password"),
        ("https://a.example\\@b.example/", "backslashes"),
        ("https://a.example/ b", "spaces"),
        ("https://a.example/\n", "control characters"),
        ("ftp://a.example/", "does not begin with https:// or http://"),
        ("//a.example/", "does not begin with"),
        ("https:a.example", "does not begin with"),
        ("https://a.example/%zz", "percent-encoded"),
        ("https://a.example/<b>", "percent-encoded"),
        ("https://a.example/ü", "percent-encoded"),
        ("https://%61.example/", "the URL's host is percent-encoded"),
        ("https://bücher.example/", "xn--"),
        ("https://a.example./", "ends in a dot"),
        ("https://a..example/", "is no name"),
        ("https://-a.example/", "is no name"),
        ("https://a_b.example/", "is no name"),
        (f"https://{'a' * 64}.example/", "is no name"),
        (f"https://{'.'.join(['a' * 60] * 5)}/", "is no name"),
        ("https:///path", "the host is missing"),
        ("https://:443/", "the host is missing"),
        ("https://a.example:/", "port is no number"),
        ("https://a.example:0/", "port is no number"),
        ("https://a.example:0443/", "port is no number"),
        ("https://a.example:65536/", "port is no number"),
        ("https://a.example:+443/", "port is no number"),
        ("https://a.example:443:443/", "port is no number"),
        ("https://a.example:22/", "port 22 is that of a service"),
        ("https://a.example:1023/", "port 1023 is that of a service"),
        ("https://127.1/", "no IPv4 address in its usual form"),
        ("https://2130706433/", "no IPv4 address in its usual form"),
        ("https://0x7f.0.0.1/", "no IPv4 address in its usual form"),
        ("https://0177.0.0.1/", "no IPv4 address in its usual form"),
        ("https://1.2.3.4./", "no IPv4 address in its usual form"),
        ("https://1.2.3.4.5/", "no IPv4 address in its usual form"),
        ("https://[::1%25lo]/", "with a zone"),
        ("https://[::1/", "no IPv6 address in brackets"),
        ("https://::1/", "the host is missing"),
        ("https://fd00::1/", "port is no number"),
        ("https://[1.2.3.4]/", "no IPv6 address in brackets"),
        ("https://a.example/" + "a" * MAX_URL_CHARS, "more than 2048 characters"),
    ],
)
def test_a_url_in_another_form_is_refused_in_words(url: str, words: str) -> None:
    with pytest.raises(BadTarget) as caught:
        read_url(url)
    assert words in str(caught.value)


def test_ports_of_services_that_are_not_http_are_refused() -> None:
    taken = []
    for port in range(1, 11_000):
        with contextlib.suppress(BadTarget):
            taken.append(read_url(f"https://a.example:{port}/").port)
    assert taken == [80, 443, *(port for port in range(1024, 11_000) if port not in BLOCKED_PORTS)]


PARTS = ["a", "A", "0", "1", "7f", "0x", ".", ":", "/", "?", "#", "@", "%", "%2e", "[", "]", "::1", "\\", "-", " ", "ü"]


@given(st.lists(st.sampled_from([*PARTS, "127", "example", "443", "http://", "https://"]), max_size=12).map("".join))
def test_other_readers_see_the_host_and_the_port_that_we_see(rest: str) -> None:
    url = f"http://{rest}"
    try:
        target = read_url(url)
    except BadTarget:
        return
    seen, other = urlsplit(url), httpx2.URL(url)
    assert (seen.hostname, seen.port or 80) == (_written(url), target.port)
    assert ip_address_or_name(other.host) == target.host
    assert (other.port or 80) == target.port


def _written(url: str) -> str:
    host = url.removeprefix("http://").partition("/")[0].partition("?")[0]
    return host[1:].partition("]")[0].lower() if host.startswith("[") else host.partition(":")[0].lower()


def ip_address_or_name(host: str):
    try:
        return ip_address(host)
    except ValueError:
        return host


@given(st.text(max_size=60))
def test_no_text_raises_anything_else(text: str) -> None:
    for url in (text, f"https://{text}", f"https://a.example{text}"):
        with contextlib.suppress(BadTarget):
            assert read_url(url).authority.isascii()


@pytest.mark.parametrize(
    "name", ["localhost", "db", "a.localhost", "a.internal", "b.home.arpa", "x.y.local", "a.onion"]
)
def test_local_names(name: str) -> None:
    assert is_local_name(name)


@pytest.mark.parametrize("name", ["example.com", "local.example.com", "internal.net", "home.arpa.net"])
def test_names_that_are_not_local(name: str) -> None:
    assert not is_local_name(name)
