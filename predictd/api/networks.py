"""What functions on networks take in several forms, and the frames that they give: links, names, sets, labels."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from predictd.api import frames
from predictd.api.inputs import Source, path_of, path_or_none
from predictd.constants import LINK_SIGNS
from predictd.errors import ConfigError, DataError, TableError
from predictd.grn.links import Links
from predictd.io.network.genesets import read_gmt, read_labels
from predictd.io.network.link_lists import twice
from predictd.io.network.networks import read_judged, refuse_both
from predictd.io.network.samples import samples_of_frame
from predictd.workflows.network.evaluate import Pair, distinct_pairs
from predictd.workflows.network.links import listed_links, load_links, ranked
from predictd.workflows.network.samples import SampleChoice, choose_samples

if TYPE_CHECKING:
    import pandas as pd

LINKS = ("regulator", "target", "importance")
_SIGN = "sign"


def sets_of(regulons: Any, name: str = "regulons") -> Mapping[str, Collection[str]]:
    """Genes by name of the set, of a frame of regulons, a mapping, or a GMT file."""
    if isinstance(regulons, (str, os.PathLike)):
        return read_gmt(path_of(regulons))
    if hasattr(regulons, "columns"):
        if absent := [own for own in ("regulon", "target") if own not in regulons.columns]:
            raise TableError(f"`{name}` has no column {', '.join(absent)}")
        return {
            str(own): list(map(str, genes))
            for own, genes in regulons.groupby("regulon", sort=False)["target"]
        }
    if not hasattr(regulons, "items") or any(isinstance(genes, str) for genes in regulons.values()):
        raise ConfigError(
            f"`{name}` is what `regulons` gives, lists of genes by name, or the path of a GMT file"
        )
    return {str(own): list(map(str, genes)) for own, genes in regulons.items()}


def samples_of(samples: Any, decay: Any) -> SampleChoice | None:
    """What is known of the samples, of a frame, a mapping, numbers or files; None: nothing."""
    table = samples_of_frame(samples, "`samples`") if hasattr(samples, "columns") else path_or_none(samples)
    if decay is None or isinstance(decay, (str, os.PathLike)):
        return choose_samples(table, path_or_none(decay))
    try:
        own = (
            {str(gene): float(rate) for gene, rate in decay.items()}
            if hasattr(decay, "items")
            else float(decay)
        )
    except (TypeError, ValueError) as err:
        raise ConfigError(f"`decay` is a number, numbers by gene, or a path ({err})") from err
    return choose_samples(table, own)


def names_of(genes: Source | Iterable[str] | None) -> Path | list[str] | None:
    """Names of genes, or the path of their list; None: all."""
    if genes is None:
        return None
    return path_of(genes) if isinstance(genes, (str, os.PathLike)) else list(map(str, genes))


def links_of(links: Any) -> Links:
    """Links of a frame, of a network's directory or file, or of a list; TableError for a frame that is no list."""
    if not hasattr(links, "columns"):
        return load_links(path_of(links))[0]
    absent = [name for name in LINKS if name not in links.columns]
    if absent:
        raise TableError(
            f"`links` has no column {', '.join(absent)}; its columns have to be {', '.join(LINKS)}"
        )
    if not len(links):
        raise DataError("`links` has no links")
    regulators, targets = (list(map(str, links[name])) for name in LINKS[:2])
    importances = _numbers(links["importance"], "`links`: the importance")
    if len(set(zip(regulators, targets, strict=True))) < len(importances):
        (link, _), *_ = Counter(zip(regulators, targets, strict=True)).most_common(1)
        raise twice("`links`", *link)
    if _SIGN not in links.columns:
        return listed_links(regulators, targets, importances, None)
    absent_signs = links[_SIGN].isna()
    signs = [
        "" if is_absent else str(sign) for sign, is_absent in zip(links[_SIGN], absent_signs, strict=True)
    ]
    if bad := [sign for sign in signs if sign not in LINK_SIGNS]:
        raise TableError(f"`links`: the sign '{bad[0]}' is none of +, - and . (or 1, -1 and 0)")
    return listed_links(regulators, targets, importances, [LINK_SIGNS[sign] for sign in signs])


def frame_of(links: Links) -> pd.DataFrame:
    """Links as a frame, the most important first."""
    columns = {name: values.tolist() for name, values in ranked(links).items()}
    return frames.require("pandas").DataFrame(columns)


def gold_of(gold: Any) -> tuple[tuple[list[Pair], list[Pair]], Path | str]:
    """Known links and pairs that are none, of a frame or a file, and what messages call them."""
    if not hasattr(gold, "columns"):
        path = path_of(gold)
        return distinct_pairs(*read_judged(path), source=path), path
    if absent := [name for name in LINKS[:2] if name not in gold.columns]:
        raise TableError(f"`gold` has no column {', '.join(absent)}")
    pairs = list(zip(*(map(str, gold[name]) for name in LINKS[:2]), strict=True))
    weights = (
        _numbers(gold["weight"], "`gold`: the weight") if "weight" in gold.columns else [1.0] * len(pairs)
    )
    links, none = (
        [pair for pair, weight in zip(pairs, weights, strict=True) if (weight != 0) == wanted]
        for wanted in (True, False)
    )
    refuse_both("`gold`", links, none)
    return distinct_pairs(links, none, source="`gold`"), "`gold`"


def labels_of(labels: Any) -> tuple[Mapping[str, str], Path | str]:
    """Labels by gene, of a mapping or a file, and what messages call them."""
    if isinstance(labels, (str, os.PathLike)):
        return read_labels(path_of(labels)), path_of(labels)
    if not hasattr(labels, "items") or hasattr(labels, "columns"):
        raise ConfigError("`labels` is labels by gene, as a dict or a Series, or the path of a table")
    known = {str(gene): str(label) for gene, label in labels.items() if label == label and label is not None}
    if not known:
        raise DataError("`labels` has no labels")
    return known, "`labels`"


def _numbers(values: Iterable[Any], what: str) -> list[float]:
    numbers = []
    for value in values:
        try:
            numbers.append(float(value))
        except (TypeError, ValueError) as err:
            raise TableError(f"{what} {value} is not a number") from err
        if not math.isfinite(numbers[-1]):
            raise TableError(f"{what} {value} is no finite number")
    return numbers
