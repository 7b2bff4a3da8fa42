"""The tensor on disk: a manifest and HDF5 shards.

A shard holds `signal` (bins × experiments), `runs` (k × 2: first bin, length) and `summary` (experiments × 4:
observed bins, sum, sum of squares, maximum of the stored signal). NaN is missing. Each chunk carries a checksum
(Fletcher-32), so that damage shows when it is read. Where bins are regions, `regions` (bins × 2) has their starts and
ends. Where several chromosomes share the shard, `contigs` has their names, and `contig_runs` how many of the runs each
has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import numpy.typing as npt

from predictd.constants import (
    BLOCK_BINS,
    CHUNK_BYTES,
    MANIFEST,
    SHARDS,
    SHARED_VERSION,
    TENSOR_FORMAT,
    TENSOR_VERSION,
)
from predictd.errors import TensorFormatError
from predictd.io.files import refuse_unreadable, replacing, sha256_of, state_of
from predictd.io.hdf5 import UNREADABLE, ForeignFileError, check_format, reading, writing
from predictd.io.tensor.layout import Places, ShardPlan
from predictd.io.tensor.manifest import Manifest, ShardEntry, read_manifest
from predictd.io.tensor.scratch import Scratch
from predictd.io.tensor.shard import Shard as Shard
from predictd.io.tensor.shard import read_runs
from predictd.pairs import Experiment, positions
from predictd.wording import some

Signal = npt.NDArray[np.float16] | npt.NDArray[np.float32]


class Tensor:
    """A whole tensor, opened for reading.

    It travels to workers as its place and its checksum: each opens it again, and refuses what was put in its place.

    Parameters
    ----------
    path
        Its directory.
    scratch
        Directory of the node for copies of shards; None: they are read where they are.

    Raises
    ------
    TensorFormatError
        If it is missing, unfinished or foreign.
    """

    def __init__(self, path: Path, *, scratch: Path | None = None) -> None:
        self.path = path
        # Looked at before the manifest is read: one that is replaced meanwhile is seen to differ.
        self._state = self._look()
        self.manifest: Manifest = read_manifest(path)
        self._scratch = None if scratch is None else Scratch(scratch, self.manifest.checksum)
        self.experiments: list[Experiment] = [entry.experiment for entry in self.manifest.experiments]
        self._entries = {entry.name: entry for entry in self.manifest.shards}

    def __reduce__(self) -> tuple[Callable[[Path], Tensor], tuple[Path]]:
        return partial(_reopened, scratch=self.scratch, checksum=self.manifest.checksum), (self.path,)

    @property
    def scratch(self) -> Path | None:
        """Directory of the node for copies of shards."""
        return self._scratch.path if self._scratch else None

    @property
    def marker_file(self) -> Path:
        """The file that whoever sees the tensor sees."""
        return self.path / MANIFEST

    def refuse_replaced(self) -> None:
        """Raise TensorFormatError unless the tensor in the directory is still the one that was opened."""
        state = self._look()
        if state is not None and state == self._state:
            return
        if state is None or read_manifest(self.path).checksum != self.manifest.checksum:
            raise _replaced(self.path)
        self._state = state

    def _look(self) -> dict[str, Any] | None:
        try:
            return state_of(self.marker_file)
        except OSError:
            return None

    @property
    def n_bins(self) -> int:
        """Number of bins in all shards."""
        return sum(entry.n_bins for entry in self.manifest.shards)

    @property
    def n_complete(self) -> int:
        """Bins where every experiment has a value."""
        return sum(entry.n_complete for entry in self.manifest.shards)

    @property
    def shard_names(self) -> list[str]:
        """Shards in genome order."""
        return list(self._entries)

    def spread_shards(self, most: int) -> list[str]:
        """At most so many shards, evenly spread over the genome; of two or more the first and the last."""
        names = self.shard_names
        chosen = np.unique(np.linspace(0, len(names) - 1, min(most, len(names))).astype(int))
        return [names[index] for index in chosen.tolist()]

    def shard_path(self, name: str) -> Path:
        """Where the file of a shard lies."""
        return shard_path(self.path, name)

    def columns(self, experiments: Sequence[Experiment]) -> npt.NDArray[np.intp]:
        """Columns of experiments: intp (len(experiments),).

        Raises
        ------
        TensorFormatError
            If the tensor has no such experiment.
        """
        known = set(self.experiments)
        absent = [experiment for experiment in experiments if experiment not in known]
        if absent:
            raise TensorFormatError(
                f"{self.path} has no experiment {some(absent)}; is it the tensor that the model was trained on?"
            )
        return positions(experiments, self.experiments)

    @contextmanager
    def open_shard(self, name: str) -> Iterator[Shard]:
        """Open one shard for reading, in its copy where there is a scratch directory; see `refuse_replaced`."""
        with self._open(name, self._scratch) as shard:
            yield shard

    @contextmanager
    def _open(self, name: str, scratch: Scratch | None, *, header: bool = False) -> Iterator[Shard]:
        path = self.shard_path(name)
        with ExitStack() as undo:
            try:
                source = scratch.copy_of(path, self.refuse_replaced) if scratch else path
                file = undo.enter_context(reading(source, by_ranges=header))
            except FileNotFoundError as err:
                raise TensorFormatError(f"{path} is missing; ingest the tracks again") from err
            except OSError as err:
                refuse_unreadable(path, err)
                raise TensorFormatError(
                    f"{path} is truncated, damaged or no HDF5 file; ingest the tracks again"
                ) from err
            # Now that it is open: what is put in its place from here on is another file.
            self.refuse_replaced()
            yield Shard(file, path, self._entries[name], self.manifest)

    def places(self, name: str) -> Places:
        """Where the bins of a shard lie. Little else of the shard is read."""
        with self._open(name, scratch=None, header=True) as shard:
            return shard.places

    def summary(self) -> npt.NDArray[np.float64]:
        """Per experiment over all bins: observed bins, sum, sum of squares, maximum. float64 (n × 4).

        So little of each shard is read that none is copied for it, and that only once.
        """
        return self._totals.copy()

    @cached_property
    def _totals(self) -> npt.NDArray[np.float64]:
        total = np.zeros((len(self.experiments), 4))
        total[:, 3] = np.nan
        for name in self.shard_names:
            with self._open(name, scratch=None, header=True) as shard:
                total[:, :3] += shard.summary[:, :3]
                total[:, 3] = np.fmax(total[:, 3], shard.summary[:, 3])
        return total

    def verify(self, name: str) -> None:
        """Raise TensorFormatError unless the shard's bytes are those that were written."""
        path = self.shard_path(name)
        try:
            whole = path.is_file() and sha256_of(path) == self._entries[name].sha256
        except OSError as err:
            refuse_unreadable(path, err)
            raise
        if not whole:
            raise TensorFormatError(f"{path} is missing or not as it was written; ingest the tracks again")


def _reopened(path: Path, *, scratch: Path | None, checksum: str) -> Tensor:
    tensor = Tensor(path, scratch=scratch)
    if tensor.manifest.checksum != checksum:
        raise _replaced(path)
    return tensor


def _replaced(path: Path) -> TensorFormatError:
    return TensorFormatError(
        f"{path} was removed, or made again, after it was opened; open it again, or run the command again"
    )


def shard_path(tensor: Path, name: str) -> Path:
    """Where a shard is in a tensor's directory."""
    return tensor / SHARDS / f"{name}.h5"


def chunk_rows(itemsize: int, n_experiments: int) -> int:
    """Bins of a chunk: a power of two, about CHUNK_BYTES together."""
    return 2 ** max(6, int(np.log2(CHUNK_BYTES / (itemsize * n_experiments))))


def write_shard(tensor: Path, plan: ShardPlan, signal: Signal) -> ShardEntry:
    """Write one shard, whole or not at all.

    Parameters
    ----------
    tensor
        Directory of the tensor.
    plan
        Name and places.
    signal
        float16 or float32 (bins × experiments), transformed; NaN where missing.

    Returns
    -------
    ShardEntry
        For the manifest.
    """
    path, places = shard_path(tensor, plan.name), plan.places
    n_bins, n_experiments = signal.shape
    summary, complete = _summarise(signal)
    with replacing(path) as partial:
        with writing(partial, format=TENSOR_FORMAT, version=_version_of(plan)) as file:
            _write_chroms(file, places)
            file.attrs["n_complete"] = complete
            file.create_dataset("runs", data=places.runs, fletcher32=True)
            if places.regions is not None:
                file.create_dataset("regions", data=places.regions, fletcher32=True)
            file.create_dataset("summary", data=summary, fletcher32=True)
            file.create_dataset(
                "signal",
                data=signal,
                chunks=(min(chunk_rows(signal.itemsize, n_experiments), n_bins), n_experiments),
                fletcher32=True,
                compression=hdf5plugin.Blosc2(cname="zstd", clevel=1, filters=hdf5plugin.Blosc2.SHUFFLE),
            )
        # Before it takes its name, since an object would have to be read back for its checksum.
        return _describe(partial, path, tensor, plan, n_experiments)


def describe_shard(tensor: Path, plan: ShardPlan, n_experiments: int) -> ShardEntry:
    """The manifest's entry of a shard that has been written.

    Raises
    ------
    TensorFormatError
        If the file is not the shard that the plan describes.
    """
    path = shard_path(tensor, plan.name)
    return _describe(path, path, tensor, plan, n_experiments)


def _describe(file: Path, path: Path, tensor: Path, plan: ShardPlan, n_experiments: int) -> ShardEntry:
    """The entry of the shard in `file`, which is or is to be `path`."""
    places = plan.places
    try:
        with reading(file, by_ranges=True) as opened:
            check_format(opened, format=TENSOR_FORMAT, version=_version_of(plan))
            runs = read_runs(opened)
            fits = (
                opened["signal"].shape == (places.n_bins, n_experiments)
                and tuple(runs) == places.chroms
                and all(np.array_equal(own.runs, runs[own.chrom]) for own in places.contigs)
                and ("regions" in opened) == (places.regions is not None)
                and (places.regions is None or np.array_equal(opened["regions"][:], places.regions))
            )
            complete = int(opened.attrs["n_complete"])
    except (ForeignFileError, *UNREADABLE) as err:
        raise TensorFormatError(f"{path} is damaged; remove it and run the command again") from err
    if not fits:
        raise TensorFormatError(f"{path} is of another tensor; remove {tensor} and run the command again")
    return ShardEntry(
        name=plan.name,
        chrom=places.chrom if len(places.chroms) == 1 else places.chroms,
        n_bins=places.n_bins,
        n_complete=complete,
        sha256=sha256_of(file),
    )


def _version_of(plan: ShardPlan) -> int:
    return TENSOR_VERSION if len(plan.places.contigs) == 1 else SHARED_VERSION


def _write_chroms(file: h5py.File, places: Places) -> None:
    """Say which chromosome, or chromosomes, the runs of a shard lie on."""
    if len(places.contigs) == 1:
        file.attrs["chrom"] = places.chrom
        return
    file.create_dataset(
        "contigs", data=np.array([chrom.encode() for chrom in places.chroms]), fletcher32=True
    )
    n_runs = [len(contig.runs) for contig in places.contigs]
    file.create_dataset("contig_runs", data=n_runs, dtype=np.int64, fletcher32=True)


def _summarise(signal: Signal) -> tuple[npt.NDArray[np.float64], int]:
    """Per experiment observed bins, sum, sum of squares, maximum (n × 4), and the number of complete bins."""
    n_bins, n = signal.shape
    summary = np.zeros((n, 4))
    summary[:, 3] = np.nan
    complete = 0
    for start in range(0, n_bins, BLOCK_BINS):
        block = signal[start : start + BLOCK_BINS].astype(np.float64)
        observed = ~np.isnan(block)
        complete += int(observed.all(axis=1).sum())
        summary[:, 3] = np.fmax(summary[:, 3], np.fmax.reduce(block, axis=0))
        block[~observed] = 0.0
        summary[:, 0] += observed.sum(axis=0)
        summary[:, 1] += block.sum(axis=0)
        summary[:, 2] += np.einsum("ij,ij->j", block, block)
    return summary, complete
