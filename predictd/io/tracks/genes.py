"""Genes: those that come with predictd, and those of files, one drawing a gene."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from importlib.resources import as_file, files
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from predictd.errors import TableError
from predictd.io.tables import Interval
from predictd.io.tracks.gene_files import Stretch, Transcript, read_transcripts
from predictd.io.tracks.genomes import BUILT_IN, load_genome
from predictd.wording import some

_DATA = files("predictd") / "data"
# Names of the mitochondrial genome, which differ by more than `chr`.
_MITOCHONDRIA = ("chrM", "MT", "M", "chrMT")


class Gene(NamedTuple):
    """A gene: where it is, and how it is drawn; all in bp, 0-based, half-open.

    Attributes
    ----------
    name
        Empty where the file has none.
    start, end
        From the first base of any transcript to the last.
    strand
        `+`, `-`, or another text for none.
    chrom
        Where.
    exons
        Of the transcript with the longest coding sequence, else the longest; none where they are not known.
    coding
        From its start codon to its stop codon; None: it has none, or it is not known.
    """

    name: str
    start: int
    end: int
    strand: str
    chrom: str
    exons: tuple[Stretch, ...] = ()
    coding: Stretch | None = None


def read_genes(path: Path, place: Interval | None = None) -> list[Gene]:
    """The genes of a file, by their starts, chromosome by chromosome.

    Transcripts are one gene where the file says so (GTF, GFF3), or where they have one name, lie on one strand and
    overlap.

    Parameters
    ----------
    path
        See `read_transcripts`.
    place
        Only genes that overlap it; None: all.

    Raises
    ------
    TableError
        If it cannot be read, or is not such a file.
    """
    genes = _joined(read_transcripts(path, None if place is None else place.chrom))
    if place is not None:
        genes = [gene for gene in genes if gene.start < place.end and gene.end > place.start]
    return genes


def built_in_genes(genome: str) -> list[Gene]:
    """Genes that come with predictd for a genome (Ensembl; see data/genes.LICENSE.txt), without exons; else none."""
    table = _DATA / f"{genome}-genes.bed.gz"
    if not table.is_file():
        return []
    with as_file(table) as path:
        return read_genes(path)


def assembly_of(chromosomes: Mapping[str, int]) -> str | None:
    """The built-in genome with most chromosomes of these names, with or without `chr`, and lengths in bp; or None."""
    counts = {}
    for name in BUILT_IN:
        known = load_genome(name).chromosomes
        same = [
            known[other] == length for chrom, length in chromosomes.items() if (other := _other(chrom, known))
        ]
        if same and sum(same) > len(same) / 2:
            counts[name] = sum(same)
    return max(counts, key=lambda name: counts[name]) if counts else None


def on_chromosomes(genes: Iterable[Gene], chromosomes: Mapping[str, int], source: Path | str) -> list[Gene]:
    """Those genes that lie on these chromosomes, which may be named with or without `chr`.

    Parameters
    ----------
    genes
        Some.
    chromosomes
        Lengths in bp by name.
    source
        Where they were read, for messages.

    Raises
    ------
    TableError
        If none does, or one ends behind its chromosome's end.
    """
    found, strange = [], {}
    for gene in genes:
        chrom = _other(gene.chrom, chromosomes)
        if chrom is None:
            strange[gene.chrom] = True
            continue
        if gene.end > chromosomes[chrom]:
            raise TableError(
                f"{source}: {gene.name or 'a gene'} ends at {gene.chrom}:{gene.end:,}, but {chrom} of the tracks has "
                f"{chromosomes[chrom]:,} bp; take the genes of the tracks' genome"
            )
        found.append(gene._replace(chrom=chrom))
    if not found:
        raise TableError(
            f"{source}: no gene is on a chromosome of the tracks; it names them {some(strange)}, the tracks "
            f"{some(chromosomes)}; take a file with the tracks' names"
        )
    return found


def as_bed(genes: Iterable[Gene]) -> str:
    """Lines of BED with twelve columns; a gene without known exons is one block, all of it coding."""
    lines = []
    for gene in genes:
        exons = gene.exons or ((gene.start, gene.end),)
        first, last = gene.coding or ((gene.start, gene.start) if gene.exons else (gene.start, gene.end))
        sizes = ",".join(str(end - start) for start, end in exons)
        starts = ",".join(str(start - gene.start) for start, _ in exons)
        name = "_".join(gene.name.split()) or "."
        strand = gene.strand if gene.strand in ("+", "-") else "."
        lines.append(
            f"{gene.chrom}\t{gene.start}\t{gene.end}\t{name}\t0\t{strand}\t{first}\t{last}\t0\t{len(exons)}\t{sizes}\t{starts}\n"
        )
    return "".join(lines)


def _other(chrom: str, names: Collection[str]) -> str | None:
    """The same chromosome as others name it."""
    other = chrom.removeprefix("chr") if chrom.startswith("chr") else f"chr{chrom}"
    same = (chrom, other, *(_MITOCHONDRIA if chrom in _MITOCHONDRIA else ()))
    return next((name for name in same if name in names), None)


def _joined(transcripts: Iterable[Transcript]) -> list[Gene]:
    genes = []
    ordered = sorted(
        transcripts, key=lambda one: (one.chrom, one.gene, one.strand, one.start, one.end, one.exons)
    )
    for _, group in groupby(ordered, key=lambda one: (one.chrom, one.gene, one.strand)):
        together: list[Transcript] = []
        for one in group:
            # A file's own identifiers of genes hold also where transcripts do not overlap.
            if together and not one.identified and one.start >= max(other.end for other in together):
                genes.append(_gene(together))
                together = []
            together.append(one)
        genes.append(_gene(together))
    order = {chrom: number for number, chrom in enumerate(dict.fromkeys(one.chrom for one in transcripts))}
    return sorted(genes, key=lambda gene: (order[gene.chrom], gene.start, gene.end, gene.name))


def _gene(transcripts: list[Transcript]) -> Gene:
    drawn = max(
        transcripts, key=lambda one: (_coding_length(one), sum(end - start for start, end in one.exons))
    )
    start, end = min(one.start for one in transcripts), max(one.end for one in transcripts)
    name = next((one.name for one in transcripts if one.name), "")
    return Gene(name, start, end, drawn.strand, drawn.chrom, drawn.exons, drawn.coding)


def _coding_length(one: Transcript) -> int:
    first, last = one.coding or (0, 0)
    return sum(max(0, min(end, last) - max(start, first)) for start, end in one.exons)
