"""Groups of commands, each imported when it is called, so that listing them imports none."""

from __future__ import annotations

from importlib import import_module

import click

from predictd.cli.messages import as_options
from predictd.errors import PredictdError


class LazyGroup(click.Group):
    """Commands that stand as `command` in modules of their own.

    Parameters
    ----------
    package
        Where the modules are.
    commands
        One line of help a command, by the name of the module.
    """

    def __init__(self, package: str, commands: dict[str, str], **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self._package, self._lines = package, commands

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, sorted; none is imported."""
        return sorted(self._lines)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of that name."""
        if cmd_name not in self._lines:
            return None
        command: click.Command = import_module(f"{self._package}.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; its errors name options where the library names parameters."""
        try:
            return super().invoke(ctx)
        except PredictdError as err:
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            if command is not None:
                err.args = (as_options(str(err), command), *err.args[1:])
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, of lines that need no import."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(self._lines.items()))
