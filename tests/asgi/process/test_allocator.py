"""The allocator: what large blocks took is given back as soon as they are freed, whatever lies between them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.figures import MIB

BLOCKS = 100
PROGRAM = f"""
import sys
from pathlib import Path
from towerlog.asgi.process.allocator import set_up_allocator

def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if sys.argv[1] == "set up":
    assert set_up_allocator()
bytes({MIB})
before = resident_bytes()
kept = []
for _ in range(2):
    blocks = []
    for _ in range({BLOCKS}):
        blocks.append(b"x" * {MIB})
        kept.append(b"y" * 3000)
    most = resident_bytes() - before
    del blocks
print(most, resident_bytes() - before)
"""


@pytest.mark.parametrize(("how", "is_given_back"), [("set up", True), ("left alone", False)])
def test_large_blocks_are_given_back(how: str, is_given_back: bool) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    most, left = (int(word) for word in done.stdout.split())
    assert most >= BLOCKS * MIB
    assert (left < BLOCKS * MIB // 10) is is_given_back
