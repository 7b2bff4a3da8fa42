"""`predictd config`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.options import PATH, verbosity
from predictd.config import changes, defaults_toml, load_config


@click.command(
    cls=Command,
    examples=[
        "predictd config > predictd.toml",
        "predictd config --check predictd.toml",
    ],
)
@click.option(
    "--check", "path", type=PATH, metavar="FILE", help="Read FILE instead, and print what it changes."
)
@verbosity
def command(path: Path | None) -> None:
    """Print all settings with their defaults as TOML, with a comment on each.

    Edit the file and give it as --config to 'predictd train', 'cv', 'tune', 'plan' or 'network infer'. Options on
    the command line replace its values.
    """
    if path is None:
        click.echo(defaults_toml(), nl=False)
        return
    changed = changes(load_config(path))
    for name, value, default in changed:
        click.echo(f"{name} = {json.dumps(value)}  (default: {json.dumps(default)})")
    click.echo(f"{path}: all settings are known; {len(changed) or 'none'} of them differ from the defaults")
