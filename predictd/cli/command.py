"""A command as users meet it: options in sections, examples, and errors in its own words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from predictd.cli.messages import as_options
from predictd.cli.swapped import right_order
from predictd.errors import PredictdError
from predictd.io.files import refuse_overwriting

OPTIONS = "Options"
MODEL = "How the model is fitted"
ENGINE = "Workers and engines"
MESSAGES = "Messages and help"
# Parameters whose paths are written, and those whose are neither that nor read.
_OUTPUTS = ("output", "consensus")
_NEITHER = ("scratch",)


def _paths(value: object) -> Iterator[Path]:
    """Paths in the value of a parameter."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, tuple):
        for one in value:
            yield from _paths(one)


class Option(click.Option):
    """An option that is listed below a heading of the help.

    Parameters
    ----------
    section
        The heading.
    """

    def __init__(self, *declarations: Any, section: str = OPTIONS, **settings: Any) -> None:
        super().__init__(*declarations, **settings)
        self.section = section


class Command(click.Command):
    """A command whose help has its options in sections and ends with examples.

    Parameters
    ----------
    examples
        Lines that can be typed.
    synonyms
        Options of this command by what other programs call them.
    more_by
        What is said of an argument too many: which option takes it.
    """

    def __init__(
        self,
        name: str | None,
        examples: Sequence[str] = (),
        *,
        synonyms: Mapping[str, str] | None = None,
        more_by: str = "",
        **settings: Any,
    ) -> None:
        # Other programs that show commands know an epilogue only.
        super().__init__(name, epilog="\n".join(["\b", "Examples:", *examples]), **settings)
        self.examples = tuple(examples)
        self._synonyms, self._more_by = dict(synonyms or {}), more_by

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; of wrong ones say what is meant, if that is known."""
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as err:
            meant = self._synonyms.get(err.option_name.lower().replace("_", "-"))
            if meant is None:
                raise
            raise click.UsageError(f"{err.message} Did you mean {meant}?", err.ctx) from err
        except click.UsageError as err:
            if not self._more_by or "unexpected extra argument" not in err.message:
                raise
            raise click.UsageError(f"{err.message.rstrip('.')}: {self._more_by}", err.ctx) from err
        for parameter in self.params:
            value = ctx.params.get(parameter.name or "")
            if isinstance(value, float) and math.isnan(value):
                raise click.BadParameter("nan is not a number.", ctx, parameter)
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; errors name options where the library names parameters. No output may be an input."""
        try:
            named = {name: list(_paths(value)) for name, value in ctx.params.items() if name not in _NEITHER}
            outputs = [path for name in _OUTPUTS for path in named.pop(name, [])]
            refuse_overwriting(outputs, [path for paths in named.values() for path in paths])
            return super().invoke(ctx)
        except PredictdError as err:
            text = right_order(ctx) if err.exit_code == PredictdError.exit_code else None
            err.args = (text or as_options(str(err), self), *err.args[1:])
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by their headings."""
        sections: dict[str, list[tuple[str, str]]] = {OPTIONS: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                heading = MESSAGES if "--help" in parameter.opts else getattr(parameter, "section", OPTIONS)
                sections.setdefault(heading, []).append(record)
        width = max(len(name) for records in sections.values() for name, _ in records)
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl([(name.ljust(min(width, 30)), text) for name, text in records])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        with formatter.section("Examples"):
            for line in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")
