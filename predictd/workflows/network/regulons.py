"""`predictd network regulons`: each regulator's strongest targets as gene sets, with what is known of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from predictd.errors import ConfigError, DataError
from predictd.grn.links import Links
from predictd.grn.regulons import KnownTargets, Regulon, known_among, regulons_of
from predictd.io.files import make_directory, sha256_of
from predictd.io.network.genesets import write_gmt
from predictd.io.network.networks import read_gold
from predictd.io.results import write_rows, write_run_json
from predictd.provenance import RunRecord
from predictd.workflows.network.background import choose_background
from predictd.workflows.network.links import is_whole, links_checksum, load_links, refuse_finished

log = logging.getLogger(__name__)

REGULONS_GMT, REGULONS_TSV = "regulons.gmt", "regulons.tsv"
COLUMNS = ("regulon", "regulator", "sign", "n_targets", "least_importance")
KNOWN = ("n_known", "n_both", "n_background", "fold", "p", "q")
TOP, LEAST = 50, 10
_SAID = {"+": "targets that {} raises", "-": "targets that {} lowers", ".": "targets of {}"}


def find_regulons(
    links: Links,
    what: Path | str,
    *,
    top_per_regulator: int = TOP,
    min_size: int = LEAST,
    min_importance: float = 0.0,
) -> list[Regulon]:
    """Regulons of a network, of which there has to be one; see `predictd.grn.regulons.regulons_of`.

    Raises
    ------
    DataError
        If there is none; `what` is what the message calls the network.
    """
    if (links.importances < 0).any():
        raise DataError(
            f"{what} has weights below 0: give weights without a sign, and + (raises) or - (lowers) in a column sign"
        )
    found = regulons_of(links, top=top_per_regulator, least=min_size, min_importance=min_importance)
    if not found:
        each = "of a regulator" if links.signs is None else "of a regulator and sign"
        raise DataError(
            f"{what} has no {min_size} targets {each}, up to `top_per_regulator` {top_per_regulator} and of "
            f"`min_importance` {min_importance:g}; lower `min_size`"
        )
    return found


def write_regulons(
    network: Path,
    output: Path,
    *,
    top_per_regulator: int = TOP,
    min_size: int = LEAST,
    min_importance: float = 0.0,
    gold_path: Path | None = None,
    background: Path | None = None,
) -> tuple[list[Regulon], list[KnownTargets | None]]:
    """Write the regulons of a network as gene sets, and a table of them.

    Parameters
    ----------
    network
        Directory or file of `predictd network infer`, or a list of regulator, target and weight.
    output
        Directory to write.
    top_per_regulator, min_size, min_importance
        See `predictd.grn.regulons.regulons_of`.
    gold_path
        Known links, which regulons are compared with; None: none.
    background
        Names of the genes that could have been targets, one a line, for the comparison; None: those of the network.

    Raises
    ------
    PredictdError
        If a file cannot be read, there is no regulon, or the output cannot be written.
    """
    settings: dict[str, Any] = {
        "top_per_regulator": top_per_regulator,
        "min_size": min_size,
        "min_importance": min_importance,
    }
    if background is not None and gold_path is None:
        raise ConfigError("`background` is for the comparison with known links; give `gold_path`, too")
    record = RunRecord("network regulons", settings=settings)
    refuse_finished(output)
    links, _ = load_links(network)
    regulons = find_regulons(links, network, **settings)
    known: list[KnownTargets | None] = []
    if gold_path is not None:
        chosen = choose_background(background, links.targets, network, whole=is_whole(network))
        known = known_among(regulons, links, read_gold(gold_path), chosen)
    if gold_path is not None and not any(known):
        log.warning("%s has no known target of these regulators: are they of the same organism?", gold_path)
    make_directory(output)
    sets = ((one.name, _SAID[one.sign].format(one.regulator), one.targets) for one in regulons)
    write_gmt(output / REGULONS_GMT, sets)
    columns = COLUMNS if gold_path is None else COLUMNS + KNOWN
    write_rows(output / REGULONS_TSV, columns, _rows(regulons, known))
    record.inputs = {str(network): links_checksum(network)}
    for path in (gold_path, background):
        if path is not None:
            record.inputs[str(path)] = sha256_of(path)
    record.results = {"regulons": len(regulons), "regulators": len({one.regulator for one in regulons})}
    write_run_json(record, output)
    return regulons, known


def _rows(
    regulons: list[Regulon], known: list[KnownTargets | None]
) -> Iterator[tuple[str | int | float, ...]]:
    for place, one in enumerate(regulons):
        own = one.name, one.regulator, one.sign, len(one.targets), float(one.importances[-1])
        right = known[place] if known else None
        yield own + tuple("." if right is None else getattr(right, name) for name in (KNOWN if known else ()))
