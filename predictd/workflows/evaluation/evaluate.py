"""`predictd evaluate`: imputed tracks, ours or another tool's, scored against observed ones."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from predictd.constants import BASELINES, CHALLENGE_MEASURES, MAPPED, MEASURES
from predictd.engine import Engine
from predictd.errors import ConfigError, TableError
from predictd.io.files import checksums, make_directory
from predictd.io.remote import as_path
from predictd.io.results import write_metrics, write_run_json
from predictd.io.tables import Track, read_bed, unique_pairs
from predictd.io.temporary import temporary_folder
from predictd.io.tensor.store import Tensor
from predictd.io.tracks.metadata import read_track_table
from predictd.model.measures.comparison import Comparison
from predictd.pairs import Experiment
from predictd.provenance import RunRecord, given
from predictd.wording import some
from predictd.workflows.evaluation.cases import Absent, Case, Scoring, make_baseline
from predictd.workflows.evaluation.common import nothing_in_common
from predictd.workflows.evaluation.compare import compare, comparison_path, n_blocks, write_comparison
from predictd.workflows.evaluation.imputed import ImputedTracks, tensor_of, warn_of_seen_pairs
from predictd.workflows.evaluation.regions import Regions
from predictd.workflows.evaluation.score import Row, ScoreTask, group_cases, score
from predictd.workflows.tensor.moments import TensorMoments, known_moments
from predictd.workflows.tensor.sources import Probing, SignalSource, check_chromosomes, probe_tracks
from predictd.workflows.tracks.listed import described, inputs_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluateOptions:
    """How imputed tracks are scored.

    Attributes
    ----------
    names
        Method of each directory in metrics.tsv; empty: `model` for one, the names of the directories for several.
    regions
        BED files for MSEprom, MSEgene, MSEenh. CatchPeakObs needs a column `peaks` in the table.
    absent
        What becomes of bins with an observed value in which a method has none: `zero`, it says 0 there; `skip`, they do
        not count for any method of the pair.
    challenge
        Give the nine measures of the ENCODE Imputation Challenge, of signal in the unit of the tracks.
    quantiles
        Score each method once more after its values were mapped to the distribution of the observed track.
    scratch
        Where converted bedGraphs are kept meanwhile; None: the system's temporary directory.
    """

    names: tuple[str, ...] = ()
    regions: Regions = field(default_factory=Regions)
    absent: Absent = "zero"
    challenge: bool = False
    quantiles: bool = False
    scratch: Path | None = None

    @property
    def measures(self) -> tuple[str, ...]:
        """Columns of metrics.tsv."""
        return CHALLENGE_MEASURES if self.challenge else MEASURES


@dataclass(frozen=True)
class EvaluateReport:
    """What an evaluation found.

    Attributes
    ----------
    rows
        Of metrics.tsv.
    comparison
        Of all methods, baselines among them.
    """

    rows: list[Row]
    comparison: Comparison


def evaluate(
    directories: Path | Sequence[Path],
    table: Path,
    output: Path | None,
    engine: Engine,
    options: EvaluateOptions | None = None,
    *,
    tensor: Path | None = None,
) -> EvaluateReport:
    """Score imputed tracks and the two baselines; write metrics.tsv, and comparison.tsv, which compares all methods.

    Parameters
    ----------
    directories
        Imputed tracks with their tracks.tsv: predictd's own, or any other tool's. Of several, pairs that all have are
        scored.
    table
        Track table of observed signal. Pairs that are in both are scored.
    output, engine
        metrics.tsv to write, or None, and what runs it. comparison.tsv goes into the same directory.
    options
        How tracks are scored.
    tensor
        Whose bins are compared, and whose experiments the baselines average; None: the one that the first directory's
        run.json names.

    Raises
    ------
    PredictdError
        If tracks, table and tensor do not fit together.
    """
    options = options or EvaluateOptions()
    methods = _methods([directories] if isinstance(directories, Path) else directories, options.names)
    names = tuple(method.name for method in methods)
    settings = {
        "names": list(names),
        "absent": options.absent,
        "measures": list(options.measures),
        "challenge": options.challenge,
        "quantiles": options.quantiles,
        **given(**vars(options.regions)),
    }
    record = RunRecord.of("evaluate", engine, settings=settings)
    opened = tensor_of(methods, tensor)
    observed = _observed(methods, table, opened)
    _check_peaks(observed, opened)
    scoring = _scoring(opened, names, options)
    warn_of_seen_pairs(methods, list(observed))
    if output is not None:
        make_directory(output.parent)
    if options.scratch is not None:
        make_directory(options.scratch)
    with record.stage("moments"):
        data = known_moments(opened, engine)
    with temporary_folder(options.scratch) as temporary:
        with record.stage("read headers"):
            bigwigs = _bigwigs(methods, observed, temporary, opened, engine)
        record.inputs = _inputs(methods, table, observed, opened) | checksums(*vars(options.regions).values())
        cases = _cases(methods, observed, data, opened, bigwigs)
        with record.stage("evaluate"):
            groups = group_cases(cases, engine.workers, n_methods=len(names), quantiles=options.quantiles)
            tasks = [ScoreTask((group,)) for group in groups]
            scored = [
                one for part in engine.map(score, tasks, scoring, label="groups of pairs") for one in part
            ]
    rows = [one.row for one in scored]
    _warn_of_absent(rows, options.absent)
    comparison = compare(scored, options.measures)
    record.results = {
        "methods": {method.name: str(method.directory.resolve()) for method in methods},
        "observed": str(table.parent.resolve() / table.name),
    }
    record.train = [
        str(e) for e in sorted(set().union(*(_training(methods, opened, pair) for pair in observed)))
    ]
    if output is not None:
        write_comparison(comparison_path(output), comparison)
        write_metrics(output, rows, measures=options.measures)
        write_run_json(record, output, sidecar=True)
    return EvaluateReport(rows, comparison)


def mean_measures(rows: Sequence[Row], measures: Sequence[str]) -> dict[str, dict[str, float]]:
    """By method: the mean of each measure over the experiments that have a value; NaN where none has."""
    return {
        method: {name: float(np.mean(known)) if known else np.nan for name, known in values.items()}
        for method, values in _known_values(rows, measures).items()
    }


def known_measures(rows: Sequence[Row], measures: Sequence[str]) -> dict[str, dict[str, int]]:
    """By method: how many experiments have a value of each measure."""
    values = _known_values(rows, measures)
    return {method: {name: len(known) for name, known in own.items()} for method, own in values.items()}


def _known_values(rows: Sequence[Row], measures: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    by_method: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        own = by_method.setdefault(str(row["method"]), {name: [] for name in measures})
        for name in measures:
            if not np.isnan(float(row[name])):
                own[name].append(float(row[name]))
    return by_method


def _methods(folders: Sequence[Path], given: tuple[str, ...]) -> list[ImputedTracks]:
    """The directories of imputed tracks, and what they are called."""
    if given and len(given) != len(folders):
        raise ConfigError(
            f"`names`: {len(given)} for {len(folders)} directories; give one for each, in their order"
        )
    names = given or (("model",) if len(folders) == 1 else tuple(folder.resolve().name for folder in folders))
    mapped = next((name for name in names if name.endswith(MAPPED)), None)
    if mapped is not None:
        raise ConfigError(
            f"`names`: '{mapped}' ends with {MAPPED.strip()}, which is kept for values mapped to the "
            "observed distribution; give another name"
        )
    twice = sorted({name for name in names if names.count(name) > 1 or name in BASELINES})
    if twice:
        raise ConfigError(f"two methods would be called {twice[0]}: give each another name (`names`)")
    return [ImputedTracks.read(folder, name) for folder, name in zip(folders, names, strict=True)]


def _inputs(
    methods: Sequence[ImputedTracks], table: Path, observed: dict[Experiment, Track], tensor: Tensor
) -> dict[str, str]:
    """The tensor, and the tracks that are compared, as run.json has its inputs."""
    found = inputs_of(table, map(described, observed.values()))
    for method in methods:
        found |= inputs_of(method.directory, (described(method.tracks[pair]) for pair in observed))
    peaks = [as_path(track.peaks) for track in observed.values() if track.peaks]
    return found | checksums(*peaks) | {str(tensor.path): tensor.manifest.checksum}


def _observed(methods: Sequence[ImputedTracks], table: Path, tensor: Tensor) -> dict[Experiment, Track]:
    """Observed tracks of the pairs that every method imputed, sorted."""
    observed = unique_pairs(read_track_table(table, genome=tensor.manifest.genome.name), table)
    common = set(observed).intersection(*(method.tracks for method in methods))
    if not common:
        raise nothing_in_common(methods, observed, table, set(tensor.experiments))
    some_have = sorted(
        set(observed).intersection(set().union(*(method.tracks for method in methods))) - common
    )
    if some_have:
        log.warning(
            "%d pairs are left out, since not every directory has them (%s)", len(some_have), some(some_have)
        )
    never = sorted(set(observed).difference(*(method.tracks for method in methods)))
    if never:
        log.warning(
            "%d tracks of %s are not scored: no directory has them (%s)", len(never), table, some(never)
        )
    return {pair: observed[pair] for pair in sorted(common)}


def _check_peaks(observed: dict[Experiment, Track], tensor: Tensor) -> None:
    """Raise TableError for peaks of which none lies on the genome."""
    lengths = tensor.manifest.load_genome().chromosomes
    for path in sorted({track.peaks for track in observed.values() if track.peaks}):
        peaks = read_bed(as_path(path))
        if not any(peak.end <= lengths.get(peak.chrom, 0) for peak in peaks):
            raise TableError(
                f"{path}: none of its {len(peaks):,} peaks lies on {tensor.manifest.genome.name}, the first is at "
                f"{peaks[0].chrom}:{peaks[0].start}-{peaks[0].end}; is it of another genome?"
            )


def _scoring(tensor: Tensor, names: tuple[str, ...], options: EvaluateOptions) -> Scoring:
    genome, bin_size = tensor.manifest.load_genome(), tensor.manifest.bin_size
    regions = options.regions
    return Scoring(
        tensor,
        None,
        regions.read_as_challenge(genome, bin_size) if options.challenge else regions.read(genome),
        names,
        options.absent,
        options.challenge,
        options.quantiles,
        n_blocks(tensor.n_bins),
    )


def _bigwigs(
    methods: Sequence[ImputedTracks],
    observed: dict[Experiment, Track],
    temporary: Path,
    tensor: Tensor,
    engine: Engine,
) -> list[list[str]]:
    """Of the observed tracks and then of each method's, the bigWigs by pair; bedGraphs become ones in a directory."""
    lists = [list(observed.values()), *([method.tracks[pair] for pair in observed] for method in methods)]
    flat = [track for tracks in lists for track in tracks]
    read = frozenset(tensor.manifest.chroms)
    shared = Probing(temporary, tensor.manifest.load_genome(), read)
    probes = probe_tracks(flat, shared, engine)
    if tensor.manifest.uncovered == "zero":
        # Where imputed signal is not covered, it is absent.
        check_chromosomes(lists[0], probes[: len(lists[0])], map(tensor.places, tensor.shard_names))
    paths = iter(probe.path for probe in probes)
    return [[next(paths) for _ in tracks] for tracks in lists]


def _cases(
    methods: Sequence[ImputedTracks],
    observed: dict[Experiment, Track],
    data: TensorMoments,
    tensor: Tensor,
    bigwigs: Sequence[Sequence[str]],
) -> list[Case]:
    """What is compared of each pair."""
    transforms = {entry.assay: entry.transform for entry in tensor.manifest.experiments}
    if not any(method.run.get("train") for method in methods):
        log.info(
            "no training experiments are known: the baselines average all other experiments of the tensor"
        )
    cases = []
    for index, (pair, track) in enumerate(observed.items()):
        transform = transforms.get(pair.assay, track.transform)
        own, *imputed = (SignalSource(str(pair), (paths[index],), transform) for paths in bigwigs)
        folds = tuple(method.fold_of(pair) for method in methods)
        baseline = make_baseline(data, _training(methods, tensor, pair), pair)
        cases.append(Case(pair, folds, own, tuple(imputed), track.peaks, baseline))
    return cases


def _training(methods: Sequence[ImputedTracks], tensor: Tensor, pair: Experiment) -> list[Experiment]:
    """Experiments that the first method that says so learned from; all of the tensor's where none does."""
    known = (method.training(tensor, pair) for method in methods)
    return next((train for train in known if train is not None), tensor.experiments)


def _warn_of_absent(rows: Sequence[Row], absent: Absent) -> None:
    """Say which methods left out bins, and what that meant."""
    counts = "they count as 0" if absent == "zero" else "no method of these pairs is scored there"
    by_method: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["absent"] and not str(row["method"]).endswith(MAPPED):
            by_method[str(row["method"])].append(row)
    for method, own in by_method.items():
        worst = max(own, key=lambda row: (row["absent"], row["cell_type"], row["assay"]))
        total = int(worst["bins"]) + (int(worst["absent"]) if absent == "skip" else 0)
        log.warning(
            "%s has no value in some bins of %d pairs, most of %s:%s (%s of %s bins): %s",
            method,
            len(own),
            worst["cell_type"],
            worst["assay"],
            f"{worst['absent']:,}",
            f"{total:,}",
            counts,
        )
