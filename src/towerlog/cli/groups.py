"""Groups of commands with second names: what a command was called before, and what a bare group does."""

from __future__ import annotations

import click

FORMER_NAMES = {"list": "ls", "input": "answer"}
"""Former name of a command → its name. They still work, and `--help` does not list them."""


class Group(click.Group):
    """A group whose commands also answer to their former names."""

    bare: str | None = None
    """The command that is meant when none is named."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name, else by a former one."""
        return super().get_command(ctx, cmd_name) or super().get_command(ctx, FORMER_NAMES.get(cmd_name, cmd_name))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts the bare group's command in front of options."""
        if self.bare is not None and not {"-h", "--help"} & set(args[:1]) and (not args or args[0].startswith("-")):
            args = [self.bare, *args]
        return super().parse_args(ctx, args)


class ListGroup(Group):
    """A group that lists when no command is named."""

    bare = "ls"
