"""Values are frozen: every struct and dataclass of the package, found by importing all of it, except those that say
why not.
"""

import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Collection, Iterable, Iterator

import msgspec

import towerlog

WIRE_FORM = re.compile(r"towerlog\.(?:asgi|dialects)\..+\.(?:_\w+|\w+(?:Body|Query|Reply))$")
"""Full names of bodies, queries and replies: each is decoded or encoded once, in the request that it belongs to."""


def all_values() -> list[type]:
    """Every struct and dataclass that a module of the package defines, by module and name."""
    found: dict[str, type] = {}
    for module in pkgutil.walk_packages(towerlog.__path__, "towerlog."):
        if module.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and value.__module__ == module.name and is_value(value):
                found[full_name(value)] = value
    return [found[name] for name in sorted(found)]


def full_name(kind: type) -> str:
    """`towerlog.model.run.RunRow`."""
    return f"{kind.__module__}.{kind.__qualname__}"


def is_value(kind: type) -> bool:
    """Whether it is a struct or a dataclass."""
    return issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind)


def is_frozen(kind: type) -> bool:
    """Whether its fields cannot be set any more once it was made."""
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_config__.frozen
    return bool(vars(kind)["__dataclass_params__"].frozen)


def unfrozen(kinds: Iterable[type], excepted: Collection[str]) -> Iterator[str]:
    """Values whose fields can be set after they were made, and that are not excepted by name."""
    for kind in kinds:
        name = full_name(kind)
        if not is_frozen(kind) and not WIRE_FORM.match(name) and kind.__name__ not in excepted:
            yield f"{name}: declare it with `frozen=True`, or say in NOT_FROZEN why it changes"
