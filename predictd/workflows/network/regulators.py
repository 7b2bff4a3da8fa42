"""Listed regulators and targets among the genes of a matrix."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictd.errors import DataError
from predictd.io.network.expression import Expression
from predictd.io.network.text import read_names
from predictd.wording import some

log = logging.getLogger(__name__)

# Numbers of Ensembl with their version; those that end otherwise, as ENSG00000182378.15_PAR_Y, are other genes.
_ENSEMBL = re.compile(r"(ENS[A-Z]*\d{11})(\.\d+)?")


def find_genes(
    expression: Expression,
    expression_path: Path | str,
    listed: Path | Sequence[str],
    what: str = "regulators",
) -> tuple[NDArray[np.int64], list[str]]:
    """Find listed regulators or targets among the genes.

    Names have to be the same, but for the version of a number of Ensembl (ENSG00000181449.5), which is passed over
    where only one gene has the number. Names that differ in upper and lower case are not matched: they may be of
    another species.

    Parameters
    ----------
    expression, expression_path
        The matrix, and what messages call it.
    listed
        Names, or a file of them.
    what
        What messages call them.

    Returns
    -------
    places : ndarray of int64, (n,)
        Their positions among the genes, ascending.
    missing : list of str
        Those that are not among the genes.

    Raises
    ------
    DataError
        If none is a gene, or more are samples than genes.
    """
    if isinstance(listed, Path):
        path, names = str(listed), read_names(listed)
    else:
        path, names = "the list", list(dict.fromkeys(listed))
    places = {gene: i for i, gene in enumerate(expression.genes)}
    found = {name: places[name] for name in names if name in places}
    samples = set(names) & set(expression.samples or ())
    if len(samples) > len(found):
        other = "columns" if expression.orientation == "rows" else "rows"
        raise DataError(
            f"{len(samples)} of the {len(names)} {what} in {path} are samples of "
            f"{expression_path} as it was read ({some(sorted(samples))}), and {len(found)} are genes; give "
            f"`orientation` {other}"
        )
    versions = _other_versions([name for name in names if name not in found], places)
    if versions:
        log.warning(
            "%d of the %d %s in %s are found by their Ensembl numbers without versions: %s",
            len(versions),
            len(names),
            what,
            path,
            some(f"{name} as {expression.genes[place]}" for name, place in versions.items()),
        )
    found |= versions
    missing = [name for name in names if name not in found]
    if not found:
        raise DataError(
            f"none of the {len(names)} {what} in {path} ({some(names)}) is a gene of {expression_path} "
            f"({some(expression.genes)}); {spelling_hint(names, places) or 'use the same names'}"
        )
    if missing:
        hint = spelling_hint(missing, places)
        log.warning(
            "%d of the %d %s are not in %s and left out: %s%s",
            len(missing),
            len(names),
            what,
            expression_path,
            ", ".join(missing),
            f" ({hint})" if hint else "",
        )
    return np.array(sorted(set(found.values())), dtype=np.int64), missing


def _other_versions(names: Iterable[str], places: dict[str, int]) -> dict[str, int]:
    """Places of the only genes that have the Ensembl numbers of some names."""
    genes: dict[str, list[int]] = defaultdict(list)
    for gene, place in places.items():
        if match := _ENSEMBL.fullmatch(gene):
            genes[match[1]].append(place)
    matches = {name: _ENSEMBL.fullmatch(name) for name in names}
    numbers = {name: genes.get(match[1], []) for name, match in matches.items() if match}
    return {name: found[0] for name, found in numbers.items() if len(found) == 1}


def spelling_hint(names: Sequence[str], places: dict[str, int]) -> str:
    """What to do with names that are not genes, where they or the genes tell; else nothing."""
    by_case = {gene.casefold(): gene for gene in places}
    alike = [(name, by_case[name.casefold()]) for name in names if name.casefold() in by_case]
    if alike:
        pairs = some(f"{name} and {gene}" for name, gene in alike)
        return (
            f"{len(alike)} differ only in upper and lower case, {pairs}: take a list of the same species, or write the "
            "names as the matrix has them"
        )
    numbered = [sum(_ENSEMBL.fullmatch(name) is not None for name in own) for own in (names, places)]
    if numbered[0] > len(names) / 2 and not numbered[1]:
        return "the list has Ensembl numbers, the matrix has other names: give `gene_column`, or a list of such names"
    if numbered[1] > len(places) / 2 and not numbered[0]:
        return "the matrix has Ensembl numbers, the list has other names: give `gene_column`, or a list of numbers"
    return ""
