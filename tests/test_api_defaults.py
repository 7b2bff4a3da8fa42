"""Functions have the defaults of the commands that they are."""

from __future__ import annotations

import inspect

import click
import pytest

import predictd
from commands import every_command

# Functions that are called otherwise than their commands.
NAMES = {"cv": "cross_validate"}


def shared_options() -> dict[str, tuple[object, object]]:
    """Defaults that a function and its command both have, by command and option."""
    found = {}
    for name, command in every_command().items():
        *group, last = name.split()
        function = getattr(predictd.network if group else predictd, NAMES.get(last, last), None)
        if not inspect.isfunction(function):
            continue
        context = click.Context(command)
        options = {param.name: param.get_default(context) for param in command.params}
        for parameter in inspect.signature(function).parameters.values():
            value = options.get(parameter.name)
            if isinstance(value, (int, float, str)) and parameter.default is not inspect.Parameter.empty:
                found[f"{name} {parameter.name}"] = parameter.default, value
    return found


OPTIONS = shared_options()


@pytest.mark.parametrize("option", OPTIONS)
def test_a_function_has_the_default_of_its_command(option):
    own, of_command = OPTIONS[option]
    assert own == of_command


def test_options_are_found():
    assert {"simulate cells", "recommend k", "network enrich n_hubs"} <= OPTIONS.keys()
