"""Regions of the genome with measures of their own, from BED files."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from predictd.io.tables import Interval, read_bed, read_stranded_bed
from predictd.io.tracks.genomes import Genome

log = logging.getLogger(__name__)

# What the ENCODE Imputation Challenge takes for the promoter of a gene: so many bp before its start.
_UPSTREAM = 2000


@dataclass(frozen=True)
class Regions:
    """BED files whose bins have measures of their own."""

    promoters: Path | None = None
    genes: Path | None = None
    enhancers: Path | None = None

    def read(self, genome: Genome) -> dict[str, list[Interval]]:
        """Intervals of the files that are given, by the name of the weights in `TrackComparison`.

        Raises
        ------
        TableError
            If a file is no BED file, or of another genome.
        """
        files = {"promoters": self.promoters, "genes": self.genes, "enhancers": self.enhancers}
        intervals = {name: read_bed(path) for name, path in files.items() if path is not None}
        for name, found in intervals.items():
            genome.check_intervals(found, f"`{name}`")
        return intervals

    def read_as_challenge(self, genome: Genome, bin_size: int | None) -> dict[str, list[Interval]]:
        """Intervals whose bins the ENCODE Imputation Challenge takes, once for each; see `read`.

        Genes and enhancers go from the bin of their start to that of their end, as BED files number it; where bins are
        regions (`bin_size` None) they stay as they are. Without a file of promoters they are the 2,000 bp before the
        start of each gene, if the file of genes says on which strand.
        """
        intervals = self.read(genome)
        for name in ("genes", "enhancers"):
            if name in intervals:
                intervals[name] = [_in_bins(interval, bin_size) for interval in intervals[name]]
        if self.genes is not None and self.promoters is None:
            genes = read_stranded_bed(self.genes)
            stranded = [(gene, strand) for gene, strand in genes if strand in ("+", "-")]
            if len(stranded) < len(genes):
                log.warning(
                    "%d of the %d genes in %s have no strand (+ or - in the sixth column), and no promoter for mseprom",
                    len(genes) - len(stranded),
                    len(genes),
                    self.genes,
                )
            found = [_promoter(gene, strand, bin_size) for gene, strand in stranded]
            intervals["promoters"] = [promoter for promoter in found if promoter.end > promoter.start]
        return intervals


def _in_bins(interval: Interval, bin_size: int | None) -> Interval:
    if bin_size is None:
        return interval
    first, last = interval.start // bin_size, interval.end // bin_size
    return Interval(interval.chrom, first * bin_size, (last + 1) * bin_size)


def _promoter(gene: Interval, strand: str, bin_size: int | None) -> Interval:
    length = _UPSTREAM - _UPSTREAM % (bin_size or 1)
    whole = _in_bins(gene, bin_size)
    if strand == "+":
        return Interval(gene.chrom, max(whole.start - length, 0), whole.start)
    return Interval(gene.chrom, whole.end, whole.end + length)
