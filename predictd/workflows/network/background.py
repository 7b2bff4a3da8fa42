"""Genes that could have been in a group: what counts of shared genes are compared with."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from predictd.errors import DataError
from predictd.io.network.text import read_names
from predictd.wording import some

log = logging.getLogger(__name__)


def choose_background(
    given: Path | Collection[str] | None, genes: Collection[str], network: Path | str, *, whole: bool
) -> frozenset[str] | None:
    """The genes of the background; None: those of the network itself.

    Parameters
    ----------
    given
        Names of the genes that were measured, or a file of them, one a line; None: nothing is given.
    genes, network
        Those of the network, and what messages call it.
    whole
        Whether the network has all genes that were measured, also those without links. A list of links does not, which
        is warned of where nothing is given.

    Raises
    ------
    TableError
        If the file cannot be read, or lists no genes.
    DataError
        If no gene of the network is among those that are given.
    """
    if given is None:
        if not whole:
            log.warning(
                "%s is a list of links: the background is only the %d genes of its links, not all that were measured, "
                "so that p and fold may be wrong; give `background`, or the directory of the network",
                network,
                len(set(genes)),
            )
        return None
    names, called = (read_names(given), given) if isinstance(given, Path) else (given, "`background`")
    background = frozenset(names)
    absent = sorted(set(genes) - background)
    if len(absent) == len(set(genes)):
        raise DataError(
            f"no gene of {called} ({some(names)}) is in {network} ({some(absent)}); use the same names"
        )
    if absent:
        log.warning(
            "%d genes of %s are not among those of %s and do not count: %s",
            len(absent),
            network,
            called,
            some(absent),
        )
    return background
