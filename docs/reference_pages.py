"""Directives that write the reference from the code: `public-names`, `commands` and `settings`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import predictd
from predictd.cli import cli
from predictd.config import Config

Schema = dict[str, Any]


class PublicNames(SphinxDirective):
    """What a module defines of the public names, in its order."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Called by Sphinx."""
        lines: list[str] = []
        for name, value in public_names():
            if value.__module__ != self.arguments[0]:
                continue
            if inspect.isclass(value):
                kind = "exception" if issubclass(value, Exception) else "class"
                lines += [f".. auto{kind}:: {name}", "   :members:", ""]
            else:
                lines += [f".. autofunction:: {name}", ""]
        return self.parse_text_to_nodes("\n".join(lines))


def public_names() -> list[tuple[str, Any]]:
    """All functions and classes of `predictd` and its public modules, once each, in the order of their sources."""
    found: dict[int, tuple[str, Any]] = {}
    modules = [value for name in predictd.__all__ if inspect.ismodule(value := getattr(predictd, name))]
    for module in [*modules, predictd]:
        own = [
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", "") == module.__name__
        ]
        for name in getattr(module, "__all__", own):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                found.setdefault(id(value), (f"{module.__name__}.{name}", value))
    return sorted(found.values(), key=lambda entry: inspect.getsourcelines(entry[1])[1])


class Commands(SphinxDirective):
    """A section for each command of the command line, groups of commands included."""

    def run(self) -> list[nodes.Node]:
        """Called by Sphinx."""
        text = "\n".join(line for path in _commands(cli) for line in _section(path))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def _commands(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _commands(command, (*above, name))
        else:
            yield (*above, name)


def _section(path: tuple[str, ...]) -> list[str]:
    return [f".. click:: predictd.cli.{'.'.join(path)}:command", f"   :prog: predictd {' '.join(path)}", ""]


class SettingsTables(SphinxDirective):
    """A table for each group of settings of a TOML file: key, default, values that are allowed, and meaning."""

    def run(self) -> list[nodes.Node]:
        """Called by Sphinx."""
        schema = Config.model_json_schema()
        text = "\n".join(_tables(schema, schema["$defs"], ""))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def _tables(group: Schema, groups: dict[str, Schema], where: str) -> Iterator[str]:
    title = f"[{where}]" if where else "Before all groups"
    yield from (title, "-" * len(title), "", group["description"].partition("\n\n")[0] if where else "", "")
    yield from (".. list-table::", "   :header-rows: 1", "   :widths: 25 15 25 45", "")
    yield from ("   * - key", "     - default", "     - values", "     - meaning")
    inner = {}
    for key, field in group["properties"].items():
        if "$ref" in field:
            inner[f"{where}.{key}".lstrip(".")] = groups[field["$ref"].rpartition("/")[2]]
            continue
        default = field["default"]
        shown = (
            "none"
            if default is None
            else f"``{str(default).lower() if isinstance(default, bool) else default}``"
        )
        yield from (f"   * - ``{key}``", f"     - {shown}", f"     - {_values(field)}")
        yield f"     - {field.get('description', '')}"
    yield ""
    for name, below in inner.items():
        yield from _tables(below, groups, name)


def _values(field: Schema) -> str:
    """What a setting may be, in words."""
    if "anyOf" in field:
        return " or ".join(_values(one) for one in field["anyOf"] if one.get("type") != "null")
    if "enum" in field or "const" in field:
        return ", ".join(f"``{value}``" for value in field.get("enum", [field.get("const")]))
    words = {
        "integer": "whole number",
        "number": "number",
        "boolean": "``true``, ``false``",
        "string": "text",
    }
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    given = [f"{sign} {field[limit]:g}" for limit, sign in limits.items() if limit in field]
    return " ".join([words[field["type"]], *given])


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("public-names", PublicNames)
    app.add_directive("commands", Commands)
    app.add_directive("settings", SettingsTables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
