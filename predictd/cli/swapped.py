"""Arguments in the wrong order, reported when a command has failed: a model where the tensor belongs."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import suppress
from itertools import combinations
from pathlib import Path

import click
from click.core import ParameterSource

from predictd.constants import MANIFEST, MODELS, NETWORK_H5, TRACKS_TSV
from predictd.errors import PredictdError
from predictd.io.remote import RemotePath

_OUTPUT = "output"
_HDF5 = b"\x89HDF"


def _begins(path: Path, signature: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(signature)) == signature


def _is_table(path: Path) -> bool:
    return path.is_file() and not _begins(path, _HDF5)


def _is_directory_of_tracks(path: Path) -> bool:
    """Of tracks that a table lists, or a tensor."""
    return (path / TRACKS_TSV).is_file() or (path / MANIFEST).is_file()


def _is_network(path: Path) -> bool:
    return (path / NETWORK_H5).is_file() or (path.is_file() and _begins(path, _HDF5))


# What belongs in the place of an argument, by its name. A network may be a table, too: that decides nothing.
LOOKS: dict[str, Callable[[Path], bool]] = {
    "tensor": lambda path: (path / MANIFEST).is_file(),
    "model": lambda path: (path / MODELS).is_dir() or (path.is_file() and _begins(path, _HDF5)),
    # A matrix may be binary.
    "tracks": lambda path: path.is_file(),
    "directories": lambda path: (path / TRACKS_TSV).is_file(),
    "directory": lambda path: path.is_dir() and not (path / MANIFEST).is_file(),
    "source": lambda path: path.is_file() or _is_directory_of_tracks(path),
    "expression": lambda path: path.is_file(),
    "network": _is_network,
    "networks": _is_network,
    "gold_path": _is_table,
    "labels_path": _is_table,
    "sets_path": _is_table,
}
# What the command does not write itself: found in the place of its output, it was to be read. Other outputs may be
# those of an earlier run.
_NEVER_OUTPUT: dict[str, Callable[[Path], bool]] = {
    "tensor": LOOKS["tensor"],
    "directory": LOOKS["directory"],
    "source": lambda path: _is_directory_of_tracks(path),
}


def right_order(ctx: click.Context) -> str | None:
    """The message for arguments that look swapped; None where they do not.

    Only whether a file or directory is of the kind that belongs in a place is looked at, and only on this machine: an
    object store that does not answer is not to be waited for twice.
    """
    places = [
        (parameter, value)
        for parameter in ctx.command.params
        if parameter.name in LOOKS or parameter.name == _OUTPUT
        for value in _values(ctx.params.get(parameter.name or ""))
    ]
    if any(isinstance(value, RemotePath) for _, value in places):
        return None
    order = [value for _, value in places]
    with suppress(PredictdError, OSError):
        _put_in_order(places, order)
    wrong = [parameter for (parameter, value), better in zip(places, order, strict=True) if value != better]
    if not wrong:
        return None
    names = list(dict.fromkeys(_shown(parameter) for parameter in wrong))
    words = [
        word
        for (parameter, _), value in zip(places, order, strict=True)
        for word in ([parameter.opts[0]] if isinstance(parameter, click.Option) else []) + [str(value)]
    ]
    known = {parameter.name for parameter, _ in places}
    others = any(
        ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        for name in ctx.params
        if name not in known
    )
    return (
        f"{', '.join(names[:-1])} and {names[-1]} look swapped; in the right order: "
        f"{ctx.command_path} {shlex.join(words)}{' …' if others else ''}"
    )


def _values(value: object) -> list[Path]:
    return [path for path in (value if isinstance(value, tuple) else (value,)) if isinstance(path, Path)]


def _shown(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Option):
        return parameter.opts[0]
    return parameter.human_readable_name.rstrip(".")


def _put_in_order(places: list[tuple[click.Parameter, Path]], order: list[Path]) -> None:
    """Swap two as long as more of them are then where they belong."""
    names = [parameter.name or "" for parameter, _ in places]
    gained = True
    while gained:
        gained = False
        for i, j in combinations(range(len(order)), 2):
            if _better_swapped(names[i], order[i], names[j], order[j]):
                order[i], order[j] = order[j], order[i]
                gained = True


def _better_swapped(one: str, path: Path, other: str, there: Path) -> bool:
    """Whether more of two paths belong in each other's place than in their own."""
    if one == _OUTPUT:
        one, path, other, there = other, there, one, path
    if other == _OUTPUT:
        return one in _NEVER_OUTPUT and _NEVER_OUTPUT[one](there) and not LOOKS[one](path)
    return LOOKS[one](there) + LOOKS[other](path) > LOOKS[one](path) + LOOKS[other](there)
