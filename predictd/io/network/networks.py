"""Networks on disk: links in HDF5, link lists in plain text, gold standards."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from predictd.constants import NETWORK_FORMAT, NETWORK_H5, NETWORK_VERSION
from predictd.errors import NetworkFormatError, TableError
from predictd.io.hdf5 import Arrays, ForeignFileError, read_arrays, write_arrays
from predictd.io.network.columns import gold_columns, is_false, is_mark, named_columns
from predictd.io.network.lines import refuse_hidden_header, refuse_surplus, split_lines, without_headers
from predictd.io.tables import is_number, no_number

# Since when networks can be read: those of version 1 have no signs.
_OLDEST = 1
# What every HDF5 file begins with that has no user block.
_HDF5 = b"\x89HDF\r\n\x1a\n"


def write_network(path: Path, info: dict[str, Any], arrays: Arrays) -> None:
    """Write links and what is to be known of them, whole or not at all; see `Links.to_arrays`."""
    write_arrays(
        path,
        format=NETWORK_FORMAT,
        version=NETWORK_VERSION,
        header=info,
        arrays=arrays,
    )


def read_network(path: Path) -> tuple[dict[str, Any], Arrays]:
    """What `write_network` wrote.

    Raises
    ------
    NetworkFormatError
        If the file is missing, damaged or foreign.
    """
    try:
        return read_arrays(path, format=NETWORK_FORMAT, version=NETWORK_VERSION, oldest=_OLDEST)
    except FileNotFoundError as err:
        raise NetworkFormatError(
            f"{path} does not exist; make a network with 'predictd network infer'"
        ) from err
    except ForeignFileError as err:
        raise NetworkFormatError(f"{path} cannot be read as a network: {err}; infer it again") from err


def find_network(path: Path) -> Path | None:
    """The HDF5 file of a network that is named by its directory or by itself; None for a text file.

    Raises
    ------
    NetworkFormatError
        If there is nothing, or a directory that is no finished network.
    """
    if path.is_dir():
        if not (path / NETWORK_H5).is_file():
            raise NetworkFormatError(
                f"{path} is not a finished network: it has no {NETWORK_H5}; run 'predictd network infer' again"
            )
        return path / NETWORK_H5
    if not path.is_file():
        raise NetworkFormatError(f"{path} does not exist; make a network with 'predictd network infer'")
    with path.open("rb") as file:
        return path if file.read(len(_HDF5)) == _HDF5 else None


def read_gold(path: Path) -> list[tuple[str, str]]:
    """Links of a gold standard, in file order, without the pairs that are none; see `read_gold_pairs`."""
    return read_gold_pairs(path)[0]


def read_gold_pairs(path: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Links of a gold standard, and pairs whose number says that they are none, each in file order.

    See `predictd.io.network.columns.gold_columns`.

    Raises
    ------
    TableError
        If the file is not such a table or has no links, a line has more fields than the header, or it says both of a
        pair.
    """
    lines = without_headers(split_lines(path))
    refuse_hidden_header(path, lines[0][1] if lines else (), named_columns)
    return gold_pairs(path, lines)


def gold_pairs(
    path: Path | str, lines: Sequence[tuple[int, list[str]]]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """See `read_gold_pairs`: of (line number, fields); `path` is what messages call the table."""
    columns = gold_columns(path, [fields for _, fields in lines])
    gold: list[tuple[str, str]] = []
    none: list[tuple[str, str]] = []
    for number, fields in lines[columns.header is not None :]:
        if len(fields) < columns.width or not (fields[columns.regulator] and fields[columns.target]):
            raise TableError(f"{path}, line {number}: expected a regulator and a target")
        refuse_surplus(f"{path}, line {number}", fields, columns.most)
        found = gold
        if columns.weight is not None:
            weight = fields[columns.weight]
            if not (is_mark(weight) or (is_number(weight) and math.isfinite(float(weight)))):
                raise TableError(
                    f"{path}, line {number}: '{weight}' is not a number"
                    + no_number(weight, "; 0 says that it is not a link")
                )
            found = none if is_false(weight) else gold
        found.append((fields[columns.regulator], fields[columns.target]))
    if not gold:
        raise TableError(f"{path} holds no links: it needs lines of regulator and target")
    refuse_both(path, gold, none)
    return gold, none


def refuse_both(
    source: Path | str, gold: Collection[tuple[str, str]], none: Collection[tuple[str, str]]
) -> None:
    """Raise TableError where a gold standard has a pair both as a link and as none."""
    if both := set(gold) & set(none):
        regulator, target = min(both)
        raise TableError(
            f"{source} has {regulator} to {target} both as a link and as none; keep one of the lines"
        )
