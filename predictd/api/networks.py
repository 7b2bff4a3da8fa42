"""What functions on networks take in several forms, and the frames that they give: links, names, sets, labels."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from predictd.api import frames
from predictd.api.inputs import Source, path_of, path_or_none, shown
from predictd.constants import GENE_GROUPS, LINK_SIGNS
from predictd.errors import ConfigError, DataError, TableError
from predictd.grn.links import Links
from predictd.io.network.columns import list_columns, named_columns
from predictd.io.network.genesets import has_labels, labels_of_lines, read_gmt, read_labels
from predictd.io.network.link_lists import twice
from predictd.io.network.memory import lines_of, missing, texts, with_header
from predictd.io.network.networks import gold_pairs, read_gold_pairs
from predictd.io.network.samples import samples_of_frame
from predictd.io.remote import is_remote
from predictd.wording import some
from predictd.workflows.network.background import choose_background
from predictd.workflows.network.evaluate import Pair, distinct_pairs
from predictd.workflows.network.links import is_whole, listed_links, load_links, ranked
from predictd.workflows.network.samples import SampleChoice, choose_samples

if TYPE_CHECKING:
    import pandas as pd

LINKS = ("regulator", "target", "importance")
_SETS = ("regulon", "target")
_LABELS = ("gene", "label")
# Where a frame keeps all genes of its network.
_GENES = "predictd_genes"


def by_name(given: Any, name: str) -> dict[str, Any]:
    """What a mapping or a Series holds, by its keys as text.

    Raises
    ------
    ConfigError
        If a name is missing, or several are the same as text, as 1 and '1' are.
    """
    keys = _named((key for key, _ in given.items()), name)
    if len(set(keys)) < len(keys):
        (key, _), *_ = Counter(keys).most_common(1)
        raise ConfigError(f"`{name}` has the name {key} twice; give each a name of its own")
    return dict(zip(keys, (value for _, value in given.items()), strict=True))


def sets_of(regulons: Any, name: str = "regulons") -> Mapping[str, Collection[str]]:
    """Genes by name of the set, of a frame of regulons, a mapping, or a GMT file."""
    if isinstance(regulons, (str, os.PathLike)):
        return read_gmt(path_of(regulons))
    sets: dict[str, list[str]] = {}
    if hasattr(regulons, "columns"):
        (_, header), *rows = lines_of(regulons, f"`{name}`", set(_SETS).issubset) or [(0, [])]
        if absent := [own for own in _SETS if own not in header]:
            raise TableError(f"`{name}` has no column {', '.join(absent)}")
        for number, fields in rows:
            regulon, gene = (fields[header.index(own)] for own in _SETS)
            if not (regulon and gene):
                raise TableError(f"`{name}`, line {number}: expected a regulon and a target")
            sets.setdefault(regulon, []).append(gene)
    elif hasattr(regulons, "items"):
        sets = {own: _genes(genes, f"`{name}`", own) for own, genes in by_name(regulons, name).items()}
    else:
        raise _no_sets(name)
    if not sets:
        raise DataError(f"`{name}` holds no gene sets")
    return sets


def _genes(genes: Any, name: str, own: str) -> list[str]:
    if isinstance(genes, (str, bytes)) or not isinstance(genes, Iterable):
        raise ConfigError(f"{name}: the set {own} is {shown(genes)}; give lists of genes by name")
    found = texts(genes)
    if "" in found:
        raise TableError(f"{name}: the set {own} has a gene without a name")
    return found


def _no_sets(name: str) -> ConfigError:
    return ConfigError(
        f"`{name}` is what `regulons` gives, lists of genes by name, or the path of a GMT file"
    )


def groups_of(by: Any) -> str | Mapping[str, Collection[str]]:
    """What groups of genes are made by, or the groups themselves; see `sets_of`."""
    if isinstance(by, str) and by in GENE_GROUPS:
        return by
    if (
        _is_no_file(by)
        if isinstance(by, str)
        else not isinstance(by, os.PathLike) and not hasattr(by, "items")
    ):
        raise ConfigError(
            f"`by` {shown(by)}: give {' or '.join(map(repr, GENE_GROUPS))}, or groups, or the path of a GMT file"
        )
    return sets_of(by, "by")


def samples_of(samples: Any, decay: Any) -> SampleChoice | None:
    """What is known of the samples, of a frame, a mapping, numbers or files; None: nothing."""
    table = samples_of_frame(samples, "`samples`") if hasattr(samples, "columns") else path_or_none(samples)
    if decay is None or isinstance(decay, (str, os.PathLike)):
        return choose_samples(table, path_or_none(decay))
    try:
        own = (
            {gene: float(rate) for gene, rate in by_name(decay, "decay").items()}
            if hasattr(decay, "items")
            else float(decay)
        )
    except (TypeError, ValueError) as err:
        raise ConfigError(f"`decay` is a number, numbers by gene, or a path ({err})") from err
    return choose_samples(table, own)


def names_of(genes: Source | Iterable[str] | None, name: str) -> Path | list[str] | None:
    """Names of genes, or the path of their list; None: all.

    Raises
    ------
    ConfigError
        If it is neither, or a name is missing.
    """
    if genes is None:
        return None
    if isinstance(genes, (str, os.PathLike)):
        if isinstance(genes, str) and _is_no_file(genes):
            raise ConfigError(
                f"`{name}` {shown(genes)} is not a file: give a list of names, or the path of a file of them"
            )
        return path_of(genes)
    if not isinstance(genes, Iterable) or hasattr(genes, "columns"):
        raise ConfigError(f"`{name}` {shown(genes)}: give a list of names, or the path of a file of them")
    return _named(genes, name)


def _named(values: Iterable[Any], name: str) -> list[str]:
    """Names as text; ConfigError where one is missing."""
    found = texts(values)
    if "" in found:
        raise ConfigError(f"`{name}`: number {found.index('') + 1} has no name")
    return found


def _is_no_file(text: str) -> bool:
    path = path_of(text)
    try:
        return not text.strip() or not (is_remote(str(path)) or path.exists())
    except OSError:
        # It is too long for a path.
        return True


def links_of(links: Any) -> Links:
    """Links of a frame, of a network's directory or file, or of a list; a frame is read as a list of its columns is."""
    if not hasattr(links, "columns"):
        return load_links(path_of(links))[0]
    frame, header = with_header(links, "`links`", named_columns)
    if not len(frame):
        raise DataError("`links` has no links")
    lines = [header] * bool(header) + [texts(row) for row in frame[:2].itertuples(index=False)]
    columns = list_columns("`links`", *lines[:2])
    if not columns.width <= frame.shape[1] <= columns.most or bool(header) != (columns.header is not None):
        raise TableError(
            f"`links` has the columns {some(map(str, frame.columns))}: they have to name {', '.join(LINKS)}"
        )
    regulators, targets = (texts(frame.iloc[:, place]) for place in (columns.regulator, columns.target))
    pairs = list(zip(regulators, targets, strict=True))
    if unnamed := [number for number, pair in enumerate(pairs, 1) if not all(pair)]:
        raise TableError(f"`links`, line {unnamed[0]}: expected regulator, target and importance")
    assert columns.weight is not None
    importances = _numbers(frame.iloc[:, columns.weight], "`links`: the importance")
    if len(set(pairs)) < len(pairs):
        (link, _), *_ = Counter(pairs).most_common(1)
        raise twice("`links`", *link)
    if columns.sign is None:
        return listed_links(regulators, targets, importances, None)
    signs = texts(frame.iloc[:, columns.sign])
    if bad := [sign for sign in signs if sign not in LINK_SIGNS]:
        raise TableError(f"`links`: the sign '{bad[0]}' is not one of +, - and . (or 1, -1 and 0)")
    return listed_links(regulators, targets, importances, [LINK_SIGNS[sign] for sign in signs])


def networks_of(networks: Any) -> dict[str, Links]:
    """Two or more networks, by name where they have names, else by their numbers.

    Raises
    ------
    ConfigError
        If it is not a collection of networks, or holds fewer.
    """
    if hasattr(networks, "columns") or isinstance(networks, (str, os.PathLike)):
        raise ConfigError("`networks` is one network; give a list of two or more")
    if not isinstance(networks, Iterable):
        raise ConfigError(f"`networks` {shown(networks)}: give a list of two or more networks")
    if isinstance(networks, Mapping):
        named = by_name(networks, "networks")
    else:
        named = {f"number {place}": own for place, own in enumerate(networks, 1)}
    if len(named) < 2:
        raise ConfigError("to combine networks takes two or more")
    return {name: links_of(own) for name, own in named.items()}


def frame_of(links: Links, genes: Sequence[str] | None = None) -> pd.DataFrame:
    """Links as a frame, the most important first, which keeps all genes of the network if these are known."""
    columns = {name: values.tolist() for name, values in ranked(links).items()}
    frame = frames.require("pandas").DataFrame(columns)
    if genes is not None:
        frame.attrs[_GENES] = list(genes)
    return frame


def genes_of(given: Any, links: Links) -> Sequence[str] | None:
    """All genes of a network, also those without links; None where it is a list of links, which does not say.

    Parameters
    ----------
    given, links
        The network, as `links_of` takes and gives it. Frames of `predictd.network.infer` and `filter` keep their genes.
    """
    if not hasattr(given, "columns"):
        return links.genes if is_whole(path_of(given)) else None
    genes = getattr(given, "attrs", {}).get(_GENES)
    # Where genes were renamed since, they are others.
    return genes if genes is not None and set(links.genes) <= set(genes) else None


def background_of(background: Any, given: Any, links: Links) -> Collection[str] | None:
    """Genes that groups of a network's genes are compared with; see `choose_background`.

    Parameters
    ----------
    background
        Names, or the path of a list of them; None: all genes of the network, as far as it says.
    given, links
        The network, as it was given and as it was read.
    """
    names = names_of(background, "background")
    if names is None and (own := genes_of(given, links)) is not None:
        return own if len(own) > len(links.genes) else None
    return choose_background(names, links.genes, "`links`", whole=False)


def gold_of(gold: Any) -> tuple[tuple[list[Pair], list[Pair]], Path | str]:
    """Known links and pairs that are none, of a frame or a file, and what messages call them."""
    if hasattr(gold, "columns"):
        pairs = gold_pairs("`gold`", lines_of(gold, "`gold`", named_columns))
        return distinct_pairs(*pairs, source="`gold`"), "`gold`"
    path = path_of(gold)
    return distinct_pairs(*read_gold_pairs(path), source=path), path


def labels_of(labels: Any) -> tuple[Mapping[str, str], Path | str]:
    """Labels by gene, of a mapping, a frame or a file, and what messages call them."""
    if isinstance(labels, (str, os.PathLike)):
        return read_labels(path_of(labels)), path_of(labels)
    if hasattr(labels, "columns"):
        lines = lines_of(labels, "`labels`", has_labels)
    elif hasattr(labels, "items"):
        pairs = list(labels.items())
        fields = zip(*(texts(pair[side] for pair in pairs) for side in (0, 1)), strict=True)
        known = zip(fields, missing(label for _, label in pairs), strict=True)
        rows = [(number, list(own)) for number, (own, is_absent) in enumerate(known, 1) if not is_absent]
        lines = [(0, list(_LABELS)), *rows]
    else:
        raise ConfigError(
            "`labels` is labels by gene, as a dict or a Series, or a DataFrame with the columns gene and label, or the "
            "path of a table"
        )
    return labels_of_lines("`labels`", lines), "`labels`"


def _numbers(values: Iterable[Any], what: str) -> list[float]:
    numbers = []
    for value in values:
        try:
            numbers.append(float(value))
        except (TypeError, ValueError) as err:
            raise TableError(f"{what} {value} is not a number") from err
        if not math.isfinite(numbers[-1]):
            raise TableError(f"{what} {value} is not a finite number")
    return numbers
