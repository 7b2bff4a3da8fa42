"""`predictd info`: what a tensor holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from predictd.engine import Engine
from predictd.io.tensor.store import Tensor
from predictd.pairs import axes


def describe(tensor: Tensor) -> dict[str, Any]:
    """Contents of a tensor as plain values: shape, coverage, and one entry per experiment."""
    manifest = tensor.manifest
    cell_types, assays = axes(tensor.experiments)
    summary = tensor.summary()
    observed, total = summary[:, 0], summary[:, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(observed > 0, total / observed, np.nan)
        deviations = np.sqrt(np.maximum(summary[:, 2] / observed - means**2, 0))
    return {
        "path": str(tensor.path),
        "genome": manifest.genome.name,
        "bin_size": manifest.bin_size,
        "rows": manifest.rows,
        "dtype": manifest.dtype,
        "bins": tensor.n_bins,
        "complete_bins": tensor.n_complete,
        "shards": len(manifest.shards),
        "cell_types": len(cell_types),
        "assays": len(assays),
        "checksum": manifest.checksum,
        "bytes": sum(tensor.shard_path(name).stat().st_size for name in tensor.shard_names),
        "experiments": [
            {
                "cell_type": entry.cell_type,
                "assay": entry.assay,
                "transform": entry.transform,
                "observed": observed[i] / tensor.n_bins,
                "mean": _finite(means[i]),
                "sd": _finite(deviations[i]),
                "max": _finite(summary[i, 3]),
            }
            for i, entry in enumerate(manifest.experiments)
        ],
    }


def verify(tensor: Tensor, engine: Engine) -> None:
    """Raise TensorFormatError unless every shard holds the bytes that were written."""
    engine.check_shared_paths(tensor.marker_file)
    engine.map(_verify, tensor.shard_names, tensor.path, label="shards")


def _verify(name: str, path: Path) -> None:
    Tensor(path).verify(name)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
