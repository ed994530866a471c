"""Host names: on loopback only local ones, elsewhere what the settings say."""

from __future__ import annotations

import pytest

from towerlog.asgi.faults import Rejection
from towerlog.asgi.guard.hosts import Hosts, hosts_of


def lets_in(hosts: Hosts, name: str | None) -> bool:
    try:
        hosts.check(None if name is None else name.encode("latin-1"))
    except Rejection as refused:
        return refused.status != 421
    return True


LOCAL = ["localhost", "localhost:8700", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8700", "[::1]", "[::1]:8700"]
FOREIGN = ["evil.example", "evil.example:8700", "localhost.evil.example", "127.0.0.1.nip.io", "", ":8700", "[::2]"]


@pytest.mark.parametrize(
    "bound", ["127.0.0.1", "localhost", "::1", "127.1", "127.0.0.2", "LOCALHOST", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"]
)
def test_loopback_answers_to_local_names_alone(bound: str) -> None:
    hosts = hosts_of(bound, "", "")
    assert [name for name in LOCAL if not lets_in(hosts, name)] == []
    assert [name for name in FOREIGN if lets_in(hosts, name)] == []
    assert lets_in(hosts, None)


def test_what_it_is_bound_to_is_one_of_its_names() -> None:
    assert lets_in(hosts_of("127.0.0.2", "", ""), "127.0.0.2:8700")


def test_the_public_address_is_one_of_ours() -> None:
    hosts = hosts_of("127.0.0.1", "https://tower.example/log", "")
    assert lets_in(hosts, "tower.example")
    assert not lets_in(hosts, "evil.example")


def test_elsewhere_any_name_will_do() -> None:
    assert all(lets_in(hosts_of("0.0.0.0", "", ""), name) for name in [*LOCAL, *FOREIGN])


def test_a_list_is_the_whole_list() -> None:
    hosts = hosts_of("0.0.0.0", "", "tower.example, other.example")
    assert [name for name in ["tower.example:80", "Other.Example", "localhost"] if lets_in(hosts, name)] == [
        "tower.example:80",
        "Other.Example",
    ]
