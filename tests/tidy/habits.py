"""Habits of the tests: none waits for a fixed time, none steps aside."""

import ast
from collections.abc import Iterator

from tests.tidy.source import Source, dotted

_SLEEPS = frozenset({"time.sleep", "asyncio.sleep", "anyio.sleep"})
_ASIDE = frozenset({"pytest.skip", "pytest.xfail", "pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"})


def fixed_pause(source: Source) -> Iterator[str]:
    """A pause of a length that someone guessed; 0 only yields to the event loop, a computed length is a schedule."""
    for node in source.nodes:
        match node:
            case ast.Call(func=func, args=[ast.Constant(value=int() | float() as seconds)]):
                if seconds and dotted(func) in _SLEEPS:
                    yield source.at(
                        node, f"`{dotted(func)}({seconds})`: wait for what you wait for (tests/support/wait.py)"
                    )
            case _:
                pass


def stepping_aside(source: Source) -> Iterator[str]:
    """A test that is not run is not a test."""
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and dotted(node) in _ASIDE:
            yield source.at(node, f"`{dotted(node)}`: start what the test needs, or mend what it found")
