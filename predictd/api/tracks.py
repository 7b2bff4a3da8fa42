"""Imputed and observed tracks in files: scores, peaks, and simulated data."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from predictd.api import frames
from predictd.api.inputs import Source, chosen, path_of, path_or_none, table, using, whole
from predictd.api.tensor import Tensor, opened
from predictd.constants import METRIC_COUNTS, METRIC_KEYS
from predictd.engine import Engine
from predictd.errors import ConfigError
from predictd.io.temporary import temporary_folder
from predictd.io.tracks.bigwig import Uncovered
from predictd.model.peaks import PeakRule
from predictd.workflows.evaluation import evaluate as scoring
from predictd.workflows.evaluation.compare import COLUMNS as COMPARISON
from predictd.workflows.evaluation.compare import comparison_rows
from predictd.workflows.evaluation.regions import Regions
from predictd.workflows.tensor.simulate import SimulationOptions
from predictd.workflows.tensor.simulate import simulate as simulating
from predictd.workflows.tracks.peaks import PEAKS_TSV, PeakCalling

if TYPE_CHECKING:
    import pandas as pd

_NARROW_PEAK = (
    *("chrom", "start", "end", "name", "score", "strand"),
    *("signal_value", "p_value", "q_value", "peak"),
)


class Evaluation(NamedTuple):
    """Scores of imputed tracks.

    Attributes
    ----------
    metrics
        DataFrame: every measure of every pair by every method, the baselines among them.
    comparison
        DataFrame: for each measure and two methods the difference with its intervals, wins and losses.
    """

    metrics: pd.DataFrame
    comparison: pd.DataFrame

    def __repr__(self) -> str:
        methods = list(dict.fromkeys(self.metrics["method"]))
        n_pairs = len(self.metrics[["cell_type", "assay"]].drop_duplicates())
        return (
            f"<predictd.Evaluation: metrics and comparison of {', '.join(methods)} on {n_pairs} experiments>"
        )

    def _repr_html_(self) -> str:
        return f"<p><b>predictd.Evaluation</b><br>{escape(repr(self)[22:-1])}</p>"


def evaluate(
    imputed: Source | Sequence[Source],
    observed: Source | pd.DataFrame,
    output: Source | None = None,
    *,
    tensor: Tensor | Source | None = None,
    names: Iterable[str] = (),
    promoters: Source | None = None,
    genes: Source | None = None,
    enhancers: Source | None = None,
    absent: Literal["zero", "skip"] = "zero",
    challenge: bool = False,
    quantiles: bool = False,
    engine: Engine | None = None,
) -> Evaluation:
    """Score imputed tracks, predictd's own or another tool's, against observed ones, together with two baselines.

    Parameters
    ----------
    imputed
        A directory of imputed tracks with its `tracks.tsv`, or several of them.
    observed
        Track table of observed signal, or a DataFrame of one. Pairs that are in both are scored.
    output
        metrics.tsv to write as well; comparison.tsv goes next to it.
    tensor
        Whose bins are compared; None: the one that the first directory was imputed from.
    names
        What the methods are called; empty: `model`, or the names of several directories.
    promoters, genes, enhancers
        BED files for MSEprom, MSEgene and MSEenh.
    absent
        What becomes of bins in which a method has no value: it says 0 there, or no method is scored there.
    challenge
        Give the nine measures of the ENCODE Imputation Challenge, of signal in the unit of the tracks.
    quantiles
        Score each method once more after its values were mapped to the distribution of the observed track.
    engine
        What runs it; None: all CPUs of this machine.

    Raises
    ------
    PredictdError
        If tracks, table and tensor do not fit together.
    """
    frames.require("pandas")
    chosen("absent", absent, ("zero", "skip"))
    folders = imputed if isinstance(imputed, (list, tuple)) else [imputed]
    directories = [path_of(folder) for folder in folders]
    if not directories:
        raise ConfigError("`imputed` is empty: name at least one directory of imputed tracks")
    options = scoring.EvaluateOptions(
        names=tuple(names),
        regions=Regions(path_or_none(promoters), path_or_none(genes), path_or_none(enhancers)),
        absent=absent,
        challenge=challenge,
        quantiles=quantiles,
    )
    bins = None if tensor is None else opened(tensor).path
    with table(observed) as listed, using(engine) as running:
        report = scoring.evaluate(directories, listed, path_or_none(output), running, options, tensor=bins)
    columns = (*METRIC_KEYS, *METRIC_COUNTS, *options.measures)
    return Evaluation(
        frames.frame(report.rows, columns),
        frames.frame(comparison_rows(report.comparison), COMPARISON),
    )


def peaks(
    tracks: Source,
    output: Source | None = None,
    *,
    threshold: float = 2.0,
    gap: int = 30,
    min_length: int = 200,
    bin_size: int | None = None,
    p_values: bool = True,
    uncovered: Literal["missing", "zero"] = "missing",
    engine: Engine | None = None,
) -> pd.DataFrame:
    """Call peaks in imputed or observed tracks.

    Parameters
    ----------
    tracks
        A directory with `tracks.tsv`, a track table, or a bigWig.
    output
        Directory to write as well: a narrowPeak file a track, and `peaks.tsv`.
    threshold
        Least signal of a bin in a peak; 2 of −log10 p is p = 0.01.
    gap
        Stretches at most so many bp apart are one peak.
    min_length
        Least length of a peak in bp, after merging.
    bin_size
        Signal is averaged over so many bp; None: as the tracks were imputed or exported, or 25.
    p_values
        Whether signal is −log10 p; else `p_value` is −1.
    uncovered
        What positions without data are: missing, or zero. Tracks that predictd wrote have their zeros.
    engine
        What runs it; None: all CPUs of this machine.

    Returns
    -------
    pandas.DataFrame
        A row for each peak: `cell_type`, `assay`, and the columns of narrowPeak.

    Raises
    ------
    PredictdError
        If a track is not there or not a bigWig, or the output cannot be written.
    """
    pandas = frames.require("pandas")
    chosen("uncovered", uncovered, get_args(Uncovered))
    with temporary_folder() as temporary, using(engine) as own:
        directory = temporary / "peaks" if output is None else path_of(output)
        rule = PeakRule(float(threshold), whole(gap, "gap"), whole(min_length, "min_length", least=1))
        size = None if bin_size is None else whole(bin_size, "bin_size", least=1)
        plan = PeakCalling(
            path_of(tracks), directory, rule, bin_size=size, p_values=p_values, uncovered=uncovered
        )
        plan.ensure(own)
        found = []
        for row in frames.read_frame(directory / PEAKS_TSV).to_dict("records"):
            if row["peaks"]:
                table = _read_narrow_peaks(directory / row["peaks"])
                found.append(table.assign(cell_type=row["cell_type"], assay=row["assay"]))
    columns = ["cell_type", "assay", *_NARROW_PEAK]
    return pandas.concat(found, ignore_index=True)[columns] if found else frames.frame([], columns)


def _read_narrow_peaks(path: Path) -> Any:
    with path.open("rb") as raw, gzip.open(raw) as file:
        pandas = frames.require("pandas")
        names = dict.fromkeys(("chrom", "name", "strand"), str)
        return pandas.read_csv(file, sep="\t", header=None, names=list(_NARROW_PEAK), dtype=names)


class Simulated(NamedTuple):
    """Files of a simulated data set.

    Attributes
    ----------
    tracks
        Table of the measured tracks, for `ingest`.
    truth
        Table of the tracks that nobody measured, for `evaluate`; it is missing where all were.
    genome
        File of chromosome sizes.
    """

    tracks: Path
    truth: Path
    genome: Path


def simulate(
    output: Source,
    *,
    cells: int = 8,
    assays: int = 6,
    share: float = 0.5,
    bins: int = 100_000,
    rank: int = 10,
    seed: int = 0,
    engine: Engine | None = None,
) -> Simulated:
    """Make tracks that look like signal on a made-up genome, to try things on.

    Parameters
    ----------
    output
        Directory to write.
    cells, assays, share
        How many cell types and assays, and what share of their pairs is measured.
    bins
        Bins of 25 bp.
    rank
        Components of the truth.
    seed
        The same seed gives the same signal.
    engine
        What runs it; None: all CPUs of this machine.

    Raises
    ------
    PredictdError
        If a number is out of range, or the directory holds something else.
    """
    options = SimulationOptions(
        cells=whole(cells, "cells", least=1),
        assays=whole(assays, "assays", least=1),
        share=share,
        bins=whole(bins, "bins", least=64),
        rank=whole(rank, "rank", least=1),
        seed=whole(seed, "seed"),
    )
    directory = path_of(output)
    with using(engine) as own:
        simulating(directory, options.simulation(), options.place(), own)
    return Simulated(directory / "tracks.tsv", directory / "truth.tsv", directory / "genome.chrom.sizes")
