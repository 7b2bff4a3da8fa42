"""A folder that has all files that the examples of the command line name."""

from __future__ import annotations

import gzip
from itertools import product
from pathlib import Path

from made_networks import N_SAMPLES, simulate_expression, write_network_case
from predictd.engine import Engine
from predictd.io.results import write_rows
from predictd.io.tables import read_tracks, write_tracks
from predictd.pairs import Experiment
from predictd.workflows.tensor.simulate import SimulationOptions, simulate

CELLS, ASSAYS = ("E003", "E017", "E050", "E066", "E116"), ("H3K27ac", "H3K36me3", "H3K4me3")
MISSING = {
    ("E003", "H3K27ac"),
    ("E017", "H3K36me3"),
    ("E050", "H3K4me3"),
    ("E066", "H3K27ac"),
    ("E116", "H3K36me3"),
}
BEGIN, END = 1_000_000, 1_100_000


def make_examples(folder: Path, engine: Engine, genome: str = "hg19") -> None:
    """Write made tracks on a genome and tables of them, BED files, expression, and what is known of genes."""
    observed = [pair for pair in product(CELLS, ASSAYS) if pair not in MISSING]
    write_rows(folder / "pairs.tsv", ("cell_type", "assay"), observed)
    (folder / "regions.bed").write_text(f"chr1\t{BEGIN}\t{END}\nchr2\t{BEGIN}\t{END}\n")
    options = SimulationOptions(genome=genome, pairs=folder / "pairs.tsv", regions=folder / "regions.bed")
    simulate(folder / "made", options.simulation(), options.place(), engine)
    for name in ("tracks", "truth"):
        tracks = read_tracks(folder / "made" / f"{name}.tsv")
        write_tracks(folder / f"{name}.tsv", {track.experiment: track.path for track in tracks})
    truth = {track.experiment: track.path for track in read_tracks(folder / "truth.tsv")}
    (folder / "other-tool").mkdir()
    write_tracks(folder / "other-tool" / "tracks.tsv", truth)
    new = {Experiment("E999", pair.assay): path for pair, path in truth.items()}
    write_tracks(folder / "new-tracks.tsv", new)
    write_rows(folder / "costs.tsv", ("assay", "cost"), [(assay, 400) for assay in ASSAYS])

    header = ["region", *(":".join(pair) for pair in observed)]
    places = [f"chr1:{BEGIN + 500 * i}-{BEGIN + 500 * i + 300}" for i in range(40)]
    rows = [[place, *(str((7 * i + j) % 11) for j in range(len(observed)))] for i, place in enumerate(places)]
    matrix = "".join("\t".join(row) + "\n" for row in [header, *rows])
    (folder / "signal-in-peaks.tsv.gz").write_bytes(gzip.compress(matrix.encode()))

    genes, _, _ = simulate_expression()
    promoters = (
        f"chr1\t{BEGIN + 2000 * i}\t{BEGIN + 2000 * i + 1000}\t{gene}" for i, gene in enumerate(genes)
    )
    (folder / "promoters.bed").write_text("\n".join(promoters) + "\n")
    write_network_case(folder)
    (folder / "expression.tsv.gz").write_bytes(gzip.compress((folder / "expression.tsv").read_bytes()))
    (folder / "regulators.txt").rename(folder / "factors.txt")
    samples = [(f"S{i}", f"series{i // 10}", i % 10) for i in range(N_SAMPLES)]
    write_rows(folder / "samples.tsv", ("sample", "series", "time"), samples)
    write_rows(
        folder / "labels.tsv", ("gene", "label"), [(gene, f"class{i % 2}") for i, gene in enumerate(genes)]
    )
    (folder / "sets.gmt").write_text(
        "".join(f"set{i}\tmade\t" + "\t".join(genes[i::3]) + "\n" for i in range(3))
    )
