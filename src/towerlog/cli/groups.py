"""Groups of commands with second names: what a command was called before, and what a bare group does."""

from __future__ import annotations

import click

FORMER_NAMES = {"list": "ls", "input": "answer"}
"""Former name of a command → its name. They still work, and `--help` does not list them."""

MAX_HELP_CHARS = 300
"""More than any first sentence has: a list of commands is wrapped, and nothing of it is cut."""


class Group(click.Group):
    """A group whose commands also answer to their former names."""

    bare: str | None = None
    """The command that is meant when none is named."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name, else by a former one."""
        return super().get_command(ctx, cmd_name) or super().get_command(ctx, FORMER_NAMES.get(cmd_name, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in `--help`, each with the whole first sentence of its own help."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(MAX_HELP_CHARS)) for name, one in found if one])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts the bare group's command in front of options."""
        if self.bare is not None and not {"-h", "--help"} & set(args[:1]) and (not args or args[0].startswith("-")):
            args = [self.bare, *args]
        return super().parse_args(ctx, args)


class ListGroup(Group):
    """A group that lists when no command is named."""

    bare = "ls"
