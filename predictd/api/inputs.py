"""What functions take in several forms: paths, pairs, engines."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from predictd.engine import Engine, LocalEngine
from predictd.errors import ConfigError
from predictd.io.remote import as_path, is_remote
from predictd.pairs import Experiment

# A path of the file system, or the URL of an object in a store, such as s3://BUCKET/KEY.
Source = str | os.PathLike[str]
# A cell type and an assay: `E003:H3K4me3`, or the two apart.
Pair = str | tuple[str, str]
# `chr1:1,000-2,000`, 0-based and half-open; `chr1` alone, for all of it; or (chromosome, start, end).
Region = str | tuple[str, int, int]


def path_of(source: Source) -> Path:
    """A path, of an object store where it is the URL of one; `~` is the home directory."""
    if isinstance(source, Path):
        return source
    return _home(as_path(os.fspath(source)))


def _home(path: Path) -> Path:
    return path if is_remote(str(path)) else path.expanduser()


def path_or_none(source: Source | None) -> Path | None:
    """As `path_of`, where there may be none."""
    return None if source is None else path_of(source)


def pairs_of(pairs: Pair | Iterable[Pair]) -> list[Experiment]:
    """Pairs in their order; one alone, as a text or as a tuple of a cell type and an assay, is a list of one.

    Raises
    ------
    TableError
        If a text is no `CELL:ASSAY`.
    ConfigError
        If there is none.
    """
    if isinstance(pairs, (str, Experiment)) or (
        isinstance(pairs, tuple) and not any(":" in e for e in pairs)
    ):
        found = [_pair(pairs)]
    else:
        found = [_pair(pair) for pair in pairs]
    if not found:
        raise ConfigError("`pairs` is empty: name at least one, e.g. E003:H3K4me3")
    return found


def _pair(pair: Pair) -> Experiment:
    return Experiment.parse(pair) if isinstance(pair, str) else Experiment(*pair)


@contextmanager
def using(engine: Engine | None) -> Iterator[Engine]:
    """The engine that was given, which stays open; else one of this machine, for the block."""
    if engine is not None:
        yield engine
        return
    with LocalEngine() as own:
        yield own
