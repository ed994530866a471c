"""`towerlog COMMAND`: the group of all commands, each imported when it is called."""

from __future__ import annotations

import difflib

import click

from towerlog import __version__
from towerlog.cli.commands import COMMANDS, load
from towerlog.cli.exits import exit_codes, explained


class LazyGroup(click.Group):
    """A group whose commands stand in a table, so that to list them imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, by the alphabet."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command, imported now. Ends the program with a line of words where its packages are not installed."""
        return _loaded(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is named first. Fails with the name that was probably meant."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, 1)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Takes `help COMMAND` for `COMMAND --help`."""
        return super().parse_args(ctx, [*args[1:], "--help"] if args[:1] == ["help"] else args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in `--help`, from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in self.list_commands(ctx)])


@explained
def _loaded(name: str) -> click.Command:
    command = COMMANDS[name]
    found: click.Command = getattr(load(command.module, command.extra, f"`towerlog {name}`"), command.attribute)
    return found


@click.group(
    cls=LazyGroup,
    epilog=f"\b\nExit codes:\n{exit_codes()}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="towerlog", message="%(prog)s %(version)s")
def main() -> None:
    """Towerlog: one durable, ordered log for every run of your AI agents."""
