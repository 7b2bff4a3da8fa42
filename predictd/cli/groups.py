"""Groups of commands, each imported when it is called, so that listing them imports none."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class LazyGroup(click.Group):
    """Commands that are `command` in modules of their own.

    Parameters
    ----------
    package
        Where the modules are.
    sections
        For each heading of the help its commands: one line of help by the name of the module.
    """

    def __init__(self, package: str, sections: dict[str, dict[str, str]], **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self._package, self._sections = package, sections
        self._lines = {name: line for lines in sections.values() for name, line in lines.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, in the order of the help; none is imported."""
        return list(self._lines)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of that name."""
        if cmd_name not in self._lines:
            return None
        command: click.Command = import_module(f"{self._package}.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that was typed; where there is none, say which are called almost so."""
        typed = args[0]
        if not (typed in self._lines or typed.startswith("-") or ctx.resilient_parsing):
            near = " or ".join(f"'{path}'" for path in self._nearest(ctx, typed))
            hint = f"Did you mean {near}?" if near else f"'{ctx.command_path} --help' lists them."
            ctx.fail(f"There is no command '{typed}'. {hint}")
        return super().resolve_command(ctx, args)

    def _nearest(self, ctx: click.Context, typed: str) -> list[str]:
        """Commands of the whole program that are called almost so, those of this group first."""
        root = ctx.find_root()
        every = _paths(root.command, root)
        near = get_close_matches(typed.lower(), {path.rsplit(" ", 1)[1] for path in every}, cutoff=0.7)
        found = [path for name in near for path in every if path.endswith(f" {name}")]
        return sorted(found, key=lambda path: path.rsplit(" ", 1)[0] != ctx.command_path)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by their headings, of lines that need no import."""
        width = max(map(len, self._lines))
        for heading, lines in self._sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), line) for name, line in lines.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands that begin so; none is imported."""
        from click.shell_completion import CompletionItem

        own = [
            CompletionItem(name, help=line)
            for name, line in self._lines.items()
            if name.startswith(incomplete)
        ]
        return own + click.Command.shell_complete(self, ctx, incomplete)


def _paths(command: click.Command, ctx: click.Context) -> list[str]:
    """All commands below one, as they are typed."""
    if not isinstance(command, click.Group):
        return [ctx.command_path]
    return [
        path
        for name in command.list_commands(ctx)
        if (below := command.get_command(ctx, name)) is not None
        for path in _paths(below, click.Context(below, info_name=name, parent=ctx))
    ]
