"""`predictd view`: tracks in a genome browser, served to this machine alone."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from predictd.errors import ConfigError, DataError, TableError
from predictd.io.files import exists
from predictd.io.names import URL_SCHEMES
from predictd.io.remote import as_path, is_remote
from predictd.io.tracks.bigwig import BigWigReader
from predictd.io.tracks.genomes import BUILT_IN, Genome, load_genome
from predictd.io.tracks.serve import Served
from predictd.pairs import Experiment, positions
from predictd.wording import some
from predictd.workflows.tracks.colours import Colour, assay_colours
from predictd.workflows.tracks.listed import ListedTracks, common_chromosomes, open_listed

log = logging.getLogger(__name__)

# Pairs that are drawn from the start.
SHOWN = 3
_WINDOWS = 2000
_PLACE = re.compile(r"(.+):([\d,]*\d[\d,]*)(?:-([\d,]*\d[\d,]*))?")
_EXAMPLE = "chr1:1,000-2,000 (counted from 1, both ends within, as browsers do)"
# Bases on either side of a single position.
_AROUND = 500
_PAGE = {
    "view.html": "text/html; charset=utf-8",
    "view.css": "text/css; charset=utf-8",
    "view.js": "text/javascript; charset=utf-8",
    "igv.min.js": "text/javascript; charset=utf-8",
    "igv.LICENSE.txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class View:
    """What is served, by path; how many pairs can be chosen, and the first to be drawn."""

    served: dict[str, Served]
    n_pairs: int
    shown: tuple[Experiment, ...]


def make_view(
    source: Path,
    *,
    observed: Path | None = None,
    regions: Sequence[Path] = (),
    pairs: str | None = None,
    locus: str | None = None,
    genome: str | None = None,
) -> View:
    """Page, configuration and files of the viewer.

    Parameters
    ----------
    source
        Imputed tracks: a directory with tracks.tsv, a track table, or a bigWig.
    observed
        Track table, or directory, of observed signal; tracks behind URLs are left out, since nothing is loaded from
        other machines.
    regions
        BED, narrowPeak or GTF files to be drawn above the signal.
    pairs
        `CELL:ASSAY,…` to draw from the start; None: the first few.
    locus
        Where to begin, e.g. chr1:1,000-2,000, counted from 1 with both ends within, or chr1; None: around the
        strongest signal of the first track's first chromosome.
    genome
        hg38, mm10, … or a chromosome-sizes file; None: as the imputed tracks say, with the chromosomes of their files.

    Raises
    ------
    PredictdError
        If a file is not there, no bigWig or of another genome, or a pair is not among them.
    """
    imputed = open_listed(source)
    places = _places(imputed, open_listed(observed) if observed is not None else None)
    every = sorted(places)
    shown = _shown(pairs, every, source)
    name = genome or imputed.genome
    known = load_genome(name) if name is not None and (genome is not None or name in BUILT_IN) else None
    chromosomes = _chromosomes(places, shown, known)
    served = _page(chromosomes)
    value = {
        "source": str(source),
        "genome": known.name if known is not None else name or "genome",
        "chromosomes": list(chromosomes),
        "locus": _locus(locus, chromosomes) if locus else _strongest(next(iter(places[shown[0]].values()))),
        "pairs": _entries(places, served),
        "shown": positions(shown, every).tolist(),
        "regions": [_region(index, path, served) for index, path in enumerate(regions)],
    }
    served["/view.json"] = Served(json.dumps(value).encode(), "application/json")
    return View(served, len(every), tuple(shown))


def _chromosomes(
    places: dict[Experiment, dict[str, str]], shown: list[Experiment], genome: Genome | None
) -> dict[str, int]:
    """Lengths in bp of the chromosomes that are drawn, by name."""
    # A look into a thousand local files takes a fraction of a second; of an object store's, those that are drawn first.
    probed = [place for pair in shown for place in places[pair].values()]
    probed += [place for pair in sorted(places) for place in places[pair].values() if not is_remote(place)]
    found = common_chromosomes(dict.fromkeys(probed), genome)
    return found if genome is None else {chrom: genome.chromosomes[chrom] for chrom in found}


def _page(chromosomes: dict[str, int]) -> dict[str, Served]:
    """The viewer's own files, by path."""
    served = {
        f"/{file}": Served((files("predictd") / "data" / file).read_bytes(), kind)
        for file, kind in _PAGE.items()
    }
    served["/"] = served.pop("/view.html")
    sizes = "".join(f"{chrom}\t{length}\n" for chrom, length in chromosomes.items())
    served["/genome.chrom.sizes"] = Served(sizes.encode(), "text/plain; charset=utf-8")
    return served


def _entries(
    places: dict[Experiment, dict[str, str]], served: dict[str, Served]
) -> list[dict[str, str | Colour]]:
    """The pairs as the page lists them; their files are served."""
    colours = assay_colours(pair.assay for pair in places)
    entries = []
    for index, pair in enumerate(sorted(places)):
        entry: dict[str, str | Colour] = {**pair._asdict(), "colour": colours[pair.assay]}
        for kind, place in places[pair].items():
            entry[kind] = f"{kind}/{index}.bw"
            served[f"/{kind}/{index}.bw"] = Served(as_path(place))
        entries.append(entry)
    return entries


def _places(imputed: ListedTracks, observed: ListedTracks | None) -> dict[Experiment, dict[str, str]]:
    """Files by pair and kind."""
    places: dict[Experiment, dict[str, str]] = {}
    left_out = 0
    kinds = [("imputed", {pair: track.path for pair, track in imputed.tracks.items()}), ("sd", imputed.sds)]
    if observed is not None:
        kinds.append(("observed", {pair: track.path for pair, track in observed.tracks.items()}))
    for kind, paths in kinds:
        for pair, place in paths.items():
            if place.startswith(URL_SCHEMES):
                left_out += 1
            else:
                places.setdefault(pair, {})[kind] = place
    if left_out:
        log.warning("%d tracks behind URLs are left out: nothing is loaded from other machines", left_out)
    if not places:
        raise DataError(
            f"{imputed.source} lists no track on this machine or in an object store; download them first"
        )
    return places


def _shown(pairs: str | None, every: list[Experiment], source: Path) -> list[Experiment]:
    if pairs is None:
        return every[:SHOWN]
    chosen = list(dict.fromkeys(Experiment.parse(text.strip()) for text in pairs.split(",") if text.strip()))
    for pair in chosen:
        if pair not in every:
            raise DataError(f"`pairs` {pair}: {source} has no such track, e.g. {every[0]}")
    return chosen or every[:SHOWN]


def _locus(text: str, chromosomes: dict[str, int]) -> str:
    """A place as igv.js takes it; raises ConfigError unless it is one of the tracks' genome."""
    text = text.strip()
    if text in chromosomes:
        return text
    found = _PLACE.fullmatch(text)
    chrom = found[1] if found else text
    if chrom not in chromosomes:
        other = next(
            (name for name in chromosomes if name.removeprefix("chr") == chrom.removeprefix("chr")), ""
        )
        raise ConfigError(
            f"`locus` {text}: the tracks have no chromosome '{chrom}'"
            + (f", but '{other}'" if other else f", only {some(chromosomes)}; write a place, as {_EXAMPLE}")
        )
    if found is None:
        raise ConfigError(f"`locus` {text} is no place: write {_EXAMPLE}")
    start, end = (int(number.replace(",", "")) for number in (found[2], found[3] or found[2]))
    if not 1 <= start <= end <= chromosomes[chrom]:
        raise ConfigError(f"`locus` {text} is not within {chrom}:1-{chromosomes[chrom]}: write {_EXAMPLE}")
    if found[3] is None:
        start, end = max(1, start - _AROUND), min(chromosomes[chrom], end + _AROUND)
    return f"{chrom}:{start}-{end}"


def _region(index: int, path: Path, served: dict[str, Served]) -> dict[str, str]:
    """A file of intervals as the page draws it: the name tells igv.js the format."""
    if not exists(path):
        raise TableError(f"{path} does not exist; correct the path among `regions`")
    url = f"regions/{index}/{path.name}"
    served[f"/{url}"] = Served(path)
    return {"name": path.name, "url": url}


def _strongest(path: str) -> str:
    """A locus around the strongest signal of a bigWig's first chromosome that has any."""
    reader = BigWigReader(path)
    try:
        for chrom, length in reader.chromosomes.items():
            size = max(1, length // _WINDOWS)
            means = reader.rough_means(chrom, length // size, bin_size=size)
            if not np.isnan(means).all():
                middle = int(np.nanargmax(means)) * size + size // 2
                half = max(size, min(25_000, length // 4))
                return f"{chrom}:{max(1, middle - half)}-{min(length, middle + half)}"
        return next(iter(reader.chromosomes))
    finally:
        reader.close()
