"""The law of addresses: the edges of every forbidden network, what Python knows beside it, and what is let through."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.egress.addresses import (
    FORBIDDEN_V4,
    FORBIDDEN_V6,
    MAX_ALLOWED,
    Allowed,
    parse_allowed,
    why_forbidden,
)

NETWORKS = [network for network, _ in (*FORBIDDEN_V4, *FORBIDDEN_V6)]


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_the_first_and_the_last_address_of_each_network_are_forbidden(network) -> None:
    assert why_forbidden(network[0]) is not None
    assert why_forbidden(network[-1]) is not None


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("0.0.0.0", "unspecified (RFC 1122)"),
        ("127.0.0.1", "loopback (RFC 1122)"),
        ("10.255.255.255", "private (RFC 1918)"),
        ("172.31.0.1", "private (RFC 1918)"),
        ("192.168.1.1", "private (RFC 1918)"),
        ("100.64.0.1", "shared by carriers (RFC 6598)"),
        ("100.100.100.200", "a cloud's metadata service (Alibaba Cloud)"),
        ("168.63.129.16", "a cloud's metadata service (Azure)"),
        ("169.254.169.254", "a cloud's metadata service"),
        ("169.254.0.1", "link-local (RFC 3927)"),
        ("198.19.255.255", "for benchmarks (RFC 2544)"),
        ("224.0.0.251", "multicast (RFC 5771)"),
        ("255.255.255.255", "broadcast (RFC 919)"),
        ("255.255.255.254", "reserved (RFC 1112)"),
        ("::", "unspecified (RFC 4291)"),
        ("::1", "loopback (RFC 4291)"),
        ("::ffff:127.0.0.1", "an IPv4 address in IPv6 (RFC 4291)"),
        ("::ffff:8.8.8.8", "an IPv4 address in IPv6 (RFC 4291)"),
        ("::127.0.0.1", "an IPv4 address in IPv6 (RFC 4291, IPv4-compatible)"),
        ("64:ff9b::7f00:1", "an IPv4 address in IPv6 (RFC 6052, NAT64)"),
        ("64:ff9b:1:fffe::a00:1", "an IPv4 address in IPv6 (RFC 8215, NAT64)"),
        ("2002:7f00:1::", "an IPv4 address in IPv6 (RFC 3056, 6to4)"),
        ("2001:0:5ef5:79fd::1", "an IPv4 address in IPv6 (RFC 4380, Teredo)"),
        ("fd00:ec2::254", "private (RFC 4193, unique local)"),
        ("fe80::1", "link-local (RFC 4291)"),
        ("fec0::1", "private (RFC 3879, site-local)"),
        ("ff02::1", "multicast (RFC 4291)"),
        ("100::1", "a sink (RFC 6666)"),
        ("2001:db8::1", "for documentation (RFC 3849)"),
        ("3fff::1", "for documentation (RFC 9637)"),
        ("4000::1", "not assigned to anybody (RFC 4291)"),
        ("64:ff9a::1", "not assigned to anybody (RFC 4291)"),
    ],
)
def test_what_an_address_is_has_a_name_and_a_source(address: str, words: str) -> None:
    assert why_forbidden(ip_address(address)) == words


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"),
        *(
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
        ),
        *("192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.15", "168.63.129.17"),
        *("2606:4700::1111", "2001:200::1", "2001:4860:4860::8888", "2003::1", "2a00:1450::1", "3fff:1000::1"),
    ],
)
def test_the_neighbours_of_what_is_forbidden_are_open(address: str) -> None:
    assert why_forbidden(ip_address(address)) is None


@given(st.ip_addresses())
def test_nothing_is_open_that_python_does_not_take_for_global(address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert why_forbidden(address) is not None


@given(st.integers(0, 2**32 - 1), st.sampled_from(["::ffff:0:0", "::ffff:0:0:0", "::", "64:ff9b::", "64:ff9b:1::"]))
def test_no_ipv4_address_passes_inside_of_ipv6(number: int, prefix: str) -> None:
    assert why_forbidden(IPv6Address(int(IPv6Address(prefix)) | number)) is not None
    assert why_forbidden(IPv6Address((0x2002 << 112) | (number << 80) | 1)) is not None


def test_names_and_networks_are_let_through_and_nothing_else() -> None:
    allowed = parse_allowed(" hooks.Corp.example , 10.1.0.0/16,192.168.1.7, fd00::/8,[::1],")
    assert allowed.names == {"hooks.corp.example"}
    assert [str(network) for network in allowed.networks] == ["10.1.0.0/16", "192.168.1.7/32", "fd00::/8", "::1/128"]
    for address in ("10.1.2.3", "192.168.1.7", "fdff::1", "::1"):
        assert allowed.has(ip_address(address))
    for address in ("10.2.0.0", "192.168.1.8", "127.0.0.1", "::2", "fc00::1", "::ffff:10.1.2.3"):
        assert not allowed.has(ip_address(address))


def test_nothing_is_let_through_by_default() -> None:
    assert parse_allowed("") == parse_allowed(" , ") == Allowed()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10.0.0.1/8", "'10.0.0.1/8' is an address inside of a network: write 10.0.0.0/8"),
        ("fd00::1/8", "'fd00::1/8' is an address inside of a network: write fd00::/8"),
        ("10.0.0.0/33", "'10.0.0.0/33' is neither a host name nor a network"),
        ("10.0.0", "'10.0.0' is neither"),
        ("010.0.0.1", "'010.0.0.1' is neither"),
        ("0x7f.1", "'0x7f.1' is neither"),
        ("*.example.com", "'*.example.com' is neither"),
        ("https://hooks.example.com", "'https://hooks.example.com' is neither"),
        ("hooks.example.com:8080", "'hooks.example.com:8080' is neither"),
        ("hooks.example.com.", "leave it out"),
        ("fe80::1%eth0", "'fe80::1%eth0' is neither"),
        ("bücher.example", "xn--"),
        ("fine.example,a b", "'a b' is neither"),
        (",".join(["a.example"] * (MAX_ALLOWED + 1)), "has 257 entries; the limit is 256"),
    ],
)
def test_what_is_neither_name_nor_network_is_named(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_allowed(text)
    assert words in str(caught.value)


def test_every_network_of_the_tables_says_it_by_its_first_match() -> None:
    for table in (FORBIDDEN_V4, FORBIDDEN_V6):
        for at, (network, words) in enumerate(table):
            earlier = [other for other, _ in table[:at]]
            assert not any(network.subnet_of(other) for other in earlier), f"{network} ({words}) is never reached"


def test_the_tables_hold_what_they_are_of() -> None:
    assert {type(network[0]) for network, _ in FORBIDDEN_V4} == {IPv4Address}
    assert {type(network[0]) for network, _ in FORBIDDEN_V6} == {IPv6Address}
    assert all(ip_network(network) for network in NETWORKS)
