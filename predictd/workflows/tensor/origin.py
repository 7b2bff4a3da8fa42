"""What models and tracks say of the tensor they were made from, and whether another one has signal of the same kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from predictd.errors import DataError, TensorFormatError
from predictd.io.remote import as_path
from predictd.io.tensor.store import Tensor
from predictd.io.tracks.genomes import BUILT_IN


def origin_of(tensor: Tensor) -> dict[str, Any]:
    """What a model file keeps of its tensor: genome, size of bins in bp (None: regions), transform by assay."""
    manifest = tensor.manifest
    return {
        "genome": manifest.genome.name,
        "bin_size": manifest.bin_size,
        "transforms": manifest.transforms,
    }


def check_origin(info: Mapping[str, Any], source: Path | str, tensor: Tensor) -> None:
    """Refuse a tensor whose signal is of another kind than a model's, as far as the model tells of it.

    Parameters
    ----------
    info
        See `ModelFile.info`.
    source
        The model, for messages.
    tensor
        To be read by it: another part of the genome is as good, other bins or transforms are not.

    Raises
    ------
    DataError
        If genome, size of bins, or the transform of an assay differ.
    """
    found = origin_of(tensor)
    checks: list[tuple[str, Any, Any]] = []
    # Other genomes are named after a file, which may have been renamed.
    if {info.get("genome"), found["genome"]} <= set(BUILT_IN):
        checks.append(("genome", info["genome"], found["genome"]))
    if "bin_size" in info:
        regions = "none (regions)"
        checks.append(("bin size", info["bin_size"] or regions, found["bin_size"] or regions))
    transforms, own = info.get("transforms", {}), found["transforms"]
    checks += [
        (f"transform of {assay}", transforms[assay], own[assay])
        for assay in sorted(transforms.keys() & own.keys())
    ]
    for what, trained_on, given in checks:
        if trained_on != given:
            raise DataError(
                f"{tensor.path} has the {what} {given}, but {source} was trained on {trained_on}; name a tensor of the "
                "same"
            )


def made_from(run: Mapping[str, Any], directory: Path) -> Tensor:
    """The tensor that a directory was made from, as its run.json says.

    Raises
    ------
    TensorFormatError
        If it does not exist any more, or was made again.
    """
    path = as_path(str(run["results"]["tensor"]))
    if not path.is_dir():
        raise TensorFormatError(
            f"{directory} was made from the tensor {path}, which does not exist any more: name it as `tensor`"
        )
    tensor = Tensor(path)
    if run.get("inputs") and tensor.manifest.checksum not in run["inputs"].values():
        raise TensorFormatError(
            f"{path} is not the tensor that {directory} was made from: it was made again; make {directory} again, too, "
            "or name a tensor as `tensor`"
        )
    return tensor
