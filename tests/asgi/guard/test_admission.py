"""Admission: bounds hold, what is given back is there again, and the refused are spread out."""

from __future__ import annotations

import pytest

from towerlog.asgi.guard.admission import Admission
from towerlog.errors import Overloaded


def test_bytes_have_a_bound() -> None:
    admission = Admission(100, 1)
    admission.take_bytes(60)
    admission.take_bytes(40)
    with pytest.raises(Overloaded):
        admission.take_bytes(1)
    admission.free_bytes += 60
    admission.take_bytes(60)
    assert (admission.bytes_in_flight, admission.refused) == (100, 1)


def test_one_body_alone_is_always_let_in() -> None:
    admission = Admission(100, 1)
    admission.take_bytes(101)
    with pytest.raises(Overloaded):
        admission.take_bytes(1)


def test_streams_have_a_bound() -> None:
    admission = Admission(1, 2)
    admission.take_stream()
    admission.take_stream()
    with pytest.raises(Overloaded):
        admission.take_stream()
    admission.give_stream()
    admission.take_stream()


def test_those_who_were_refused_together_do_not_come_back_together() -> None:
    admission = Admission(1, 0)
    waits = set()
    for _ in range(6):
        with pytest.raises(Overloaded) as caught:
            admission.take_stream()
        waits.add(caught.value.retry_after)
    assert waits == {1, 2, 3}
