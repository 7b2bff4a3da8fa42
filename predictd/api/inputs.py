"""What functions take in several forms: paths, tables, pairs, whole numbers, engines."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any

from predictd.engine import Engine, LocalEngine
from predictd.errors import ConfigError, PredictdError
from predictd.io.remote import as_path, is_remote
from predictd.io.temporary import temporary_folder
from predictd.pairs import Experiment
from predictd.wording import short

# A path of the file system, or the URL of an object in a store, such as s3://BUCKET/KEY.
Source = str | os.PathLike[str]
# A cell type and an assay: `E003:H3K4me3`, or the two apart.
Pair = str | tuple[str, str]
# `chr1:1,000-2,000`, 0-based and half-open; `chr1` alone, for all of it; or (chromosome, start, end).
Region = str | tuple[str, int, int]


def path_of(source: Any) -> Path:
    """A path, of an object store where it is the URL of one; `~` is the home directory.

    Raises
    ------
    ConfigError
        If it is something else.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise ConfigError(f"a path was expected, not a {type(source).__name__}: {shown(source)}")
    path = as_path(str(source) if isinstance(source, Path) else os.fspath(source))
    return path if isinstance(source, Path) or is_remote(str(path)) else path.expanduser()


def path_or_none(source: Source | None) -> Path | None:
    """As `path_of`, where there may be none."""
    return None if source is None else path_of(source)


@contextmanager
def table(source: Any) -> Iterator[Path]:
    """The path of a table; a DataFrame becomes a file for the block, whose paths start from the working directory."""
    if not hasattr(source, "to_csv"):
        yield path_of(source)
        return
    with temporary_folder() as temporary:
        path = temporary / "table.tsv"
        paths = {
            name: list(map(_absolute, source[name])) for name in ("path", "peaks") if name in source.columns
        }
        source.assign(**paths).to_csv(path, sep="\t", index=False)
        with called(path, "the DataFrame"):
            yield path


def _absolute(path: Any) -> str:
    if not isinstance(path, (str, os.PathLike)):
        return ""
    text = os.fspath(path)
    return text if not text or "://" in text else str(Path(text).expanduser().absolute())


@contextmanager
def called(path: Path, name: str) -> Iterator[None]:
    """Within the block, errors call a temporary file by this name."""
    try:
        yield
    except PredictdError as err:
        err.args = (str(err).replace(str(path), name), *err.args[1:])
        raise


def whole(value: Any, name: str, *, least: int = 0) -> int:
    """A whole number, of Python or NumPy; ConfigError for another value, or one below the least."""
    try:
        if isinstance(value, bool):
            raise TypeError
        found = operator.index(value)
    except TypeError as err:
        raise ConfigError(f"`{name}` {shown(value)}: give a whole number") from err
    if found < least:
        raise ConfigError(f"`{name}` {found}: give a whole number of at least {least}")
    return found


def number(value: Any, name: str) -> float:
    """A finite number, of Python or NumPy; ConfigError for another value."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ConfigError(f"`{name}` {shown(value)}: give a number")
    return float(value)


def chosen(name: str, value: Any, allowed: Sequence[Any]) -> None:
    """Raise ConfigError unless a value is one of those that are allowed."""
    if value not in allowed:
        raise ConfigError(f"`{name}` {shown(value)}: give {' or '.join(map(repr, allowed))}")


def pairs_of(pairs: Any) -> list[Experiment]:
    """Pairs in their order.

    Parameters
    ----------
    pairs
        One, as a text or as a tuple of a cell type and an assay; several; or a DataFrame with the columns `cell_type`
        and `assay`.

    Raises
    ------
    TableError
        If a text is no `CELL:ASSAY`.
    ConfigError
        If there is none, or it is something else.
    """
    columns = getattr(pairs, "columns", ())
    if "cell_type" in columns and "assay" in columns:
        found = [_pair(pair) for pair in zip(pairs["cell_type"], pairs["assay"], strict=True)]
    elif isinstance(pairs, (str, Experiment)) or (isinstance(pairs, tuple) and _is_apart(pairs)):
        found = [_pair(pairs)]
    elif isinstance(pairs, Iterable):
        found = [_pair(pair) for pair in pairs]
    else:
        raise ConfigError(f"`pairs` {shown(pairs)}: write them as E003:H3K4me3, one or several")
    if not found:
        raise ConfigError("`pairs` is empty: name at least one, e.g. E003:H3K4me3")
    return found


def _is_apart(pair: tuple[Any, ...]) -> bool:
    return len(pair) == 2 and all(isinstance(name, str) and ":" not in name for name in pair)


def _pair(pair: Any) -> Experiment:
    if isinstance(pair, str):
        return Experiment.parse(pair)
    if not (isinstance(pair, tuple) and _is_apart(pair)):
        raise ConfigError(f"`pairs`: {shown(pair)} is not a pair: write E003:H3K4me3 or ('E003', 'H3K4me3')")
    return Experiment(*pair)


@contextmanager
def using(engine: Engine | None) -> Iterator[Engine]:
    """The engine that was given, which stays open; else one of this machine, for the block."""
    if engine is None:
        with LocalEngine() as own:
            yield own
    elif isinstance(engine, Engine):
        yield engine
    else:
        raise ConfigError(f"`engine` {shown(engine)}: give an engine, such as predictd.LocalEngine(2)")


def shown(value: object) -> str:
    """A value as messages show it."""
    return short(repr(value), 60)
