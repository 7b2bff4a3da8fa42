"""`predictd view`: tracks in a genome browser on this machine."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from predictd.errors import DataError, TableError, TensorFormatError
from predictd.io.files import exists, state_of
from predictd.io.names import URL_SCHEMES, is_bigwig
from predictd.io.remote import as_path, is_remote
from predictd.io.tensor.manifest import read_manifest
from predictd.io.tracks.genes import Gene, as_bed, assembly_of, built_in_genes, on_chromosomes, read_genes
from predictd.io.tracks.genomes import BUILT_IN, Genome, load_genome
from predictd.io.tracks.serve import Served
from predictd.pairs import Experiment, positions
from predictd.workflows.tracks.beginning import chosen_pairs, first_pairs, locus_of, strongest
from predictd.workflows.tracks.colours import Colour, assay_colours
from predictd.workflows.tracks.listed import ListedTracks, common_chromosomes, open_listed

log = logging.getLogger(__name__)

_PAGE = {
    "view.html": "text/html; charset=utf-8",
    "view.css": "text/css; charset=utf-8",
    "view.js": "text/javascript; charset=utf-8",
    "igv.min.js": "text/javascript; charset=utf-8",
    "igv.LICENSE.txt": "text/plain; charset=utf-8",
    "genes.LICENSE.txt": "text/plain; charset=utf-8",
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
    genes: Path | None = None,
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
        other machines. None: what the tensor of the imputed tracks was made of, as far as it is still there.
    regions
        BED, narrowPeak or GTF files to be drawn above the signal.
    genes
        BED, GTF, GFF3 or a table of UCSC (refGene, …): genes that are drawn and can be searched for. None: those that
        come with predictd for the genome, if any do.
    pairs
        `CELL:ASSAY,…` to draw from the start; None: the first few that are both imputed and observed.
    locus
        Where to begin, e.g. chr1:1,000-2,000, counted from 1 with both ends within, or chr1, or a gene; None: where all
        tracks that are drawn have signal.
    genome
        hg38, mm10, … or a chromosome-sizes file; None: as the imputed tracks say, with the chromosomes of their files.

    Raises
    ------
    PredictdError
        If a file is not there, no bigWig or of another genome, or a pair is not among them.
    """
    imputed = open_listed(source)
    places = _places(imputed, _of_tensor(imputed) if observed is None else _of(open_listed(observed)))
    every = sorted(places)
    shown = chosen_pairs(pairs, places, source) if pairs is not None else first_pairs(places)
    name = genome or imputed.genome
    known = load_genome(name) if name is not None and (genome is not None or name in BUILT_IN) else None
    chromosomes = _chromosomes(places, shown, known)
    drawn = _genes(genes, known.name if known is not None else assembly_of(chromosomes), chromosomes)
    served = _page(chromosomes)
    if drawn:
        served["/genes.bed.gz"] = Served(gzip.compress(as_bed(drawn).encode(), mtime=0))
    signal = [place for pair in shown for kind, place in places[pair].items() if kind != "sd"]
    value = {
        "source": str(source),
        # Of tracks that are shown alone it is not known what they are, unless they are ours.
        "what": "imputed" if imputed.tensor or imputed.sds or observed else "signal",
        "genome": known.name if known is not None else name or assembly_of(chromosomes) or "genome",
        "chromosomes": list(chromosomes),
        "locus": locus_of(locus, chromosomes, drawn) if locus else strongest(signal, chromosomes, known),
        "pairs": _entries(places, served),
        "shown": positions(shown, every).tolist(),
        "regions": [_region(index, path, served) for index, path in enumerate(regions)],
        "genes": sorted({gene.name for gene in drawn if gene.name}),
    }
    served["/view.json"] = Served(json.dumps(value).encode(), "application/json")
    return View(served, len(every), tuple(shown))


def _genes(path: Path | None, assembly: str | None, chromosomes: Mapping[str, int]) -> list[Gene]:
    """Genes on the tracks' chromosomes: of a file, or those that come with predictd."""
    if path is not None:
        return on_chromosomes(read_genes(path), chromosomes, path)
    known = built_in_genes(assembly) if assembly is not None else []
    here = {gene.chrom for gene in known} & {*chromosomes, *(f"chr{chrom}" for chrom in chromosomes)}
    return on_chromosomes(known, chromosomes, f"the genes of {assembly}") if here else []


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


def _of(listed: ListedTracks) -> dict[Experiment, str]:
    return {pair: track.path for pair, track in listed.tracks.items()}


def _of_tensor(imputed: ListedTracks) -> dict[Experiment, str]:
    """The bigWigs of which the imputed tracks' tensor was made, where they are as they were."""
    try:
        experiments = read_manifest(imputed.tensor).experiments if imputed.tensor is not None else ()
    except TensorFormatError:
        return {}
    found = {}
    for entry in experiments:
        # Of several replicates the tensor has the mean, which is not a file.
        if len(entry.sources) == 1 and is_bigwig(entry.sources[0].path):
            with suppress(OSError):
                if state_of(as_path(entry.sources[0].path))["bytes"] == entry.sources[0].bytes:
                    found[entry.experiment] = entry.sources[0].path
    return found


def _places(imputed: ListedTracks, observed: Mapping[Experiment, str]) -> dict[Experiment, dict[str, str]]:
    """Files by pair and kind."""
    places: dict[Experiment, dict[str, str]] = {}
    left_out = 0
    for kind, paths in (("imputed", _of(imputed)), ("sd", imputed.sds), ("observed", observed)):
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


def _region(index: int, path: Path, served: dict[str, Served]) -> dict[str, str]:
    """A file of intervals as the page draws it: the name tells igv.js the format."""
    if not exists(path):
        raise TableError(f"{path} does not exist; correct the path among `regions`")
    url = f"regions/{index}/{path.name}"
    served[f"/{url}"] = Served(path)
    return {"name": path.name, "url": url}
