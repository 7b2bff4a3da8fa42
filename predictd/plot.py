"""Figures for notebooks: regions of the genome, as on a browser."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from predictd.api.crossval import CrossValidation
from predictd.api.inputs import Pair, Region, Source, chosen, pairs_of, path_of, path_or_none
from predictd.api.model import Model, load_model
from predictd.api.tensor import Tensor, opened
from predictd.errors import ConfigError
from predictd.io.tables import Interval
from predictd.io.tracks.genes import read_genes
from predictd.model.transforms import TRANSFORMS
from predictd.report.browser_figure import Gene, Row, browser_figure
from predictd.report.drawing import styled

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.figure import Figure

__all__ = ["region"]


def region(
    tensor: Tensor | Source,
    model: Model | CrossValidation | Source | None,
    where: Region,
    pairs: Pair | Iterable[Pair],
    *,
    sd: bool | None = None,
    genes: Source | None = None,
    scale: Literal["linear", "arcsinh"] = "linear",
    width: float = 9.0,
    title: str | None = None,
) -> Figure:
    """Observed signal as areas, imputed signal as lines with a band of one standard deviation, and genes.

    Parameters
    ----------
    tensor
        The tensor, or its path.
    model
        What imputes: a model, or a cross-validation, whose models never saw an observed pair, or the path of one; None:
        only observed signal is drawn.
    where
        `chr1:1,000-2,000` (0-based, half-open), `chr1`, or (chromosome, start, end).
    pairs
        What is drawn, one below the other, as `E003:H3K4me3` or (cell type, assay).
    sd
        Whether the band is drawn; None: where the model is a cross-validation that has calibrated intervals.
    genes
        BED file (name in the fourth column, strand in the sixth), GTF, GFF3 or a gene table of UCSC, drawn below.
    scale
        Of signal: `arcsinh` makes low signal visible next to high peaks.
    width
        Of the figure, in inches.
    title
        Above; None: the place.

    Returns
    -------
    matplotlib.figure.Figure
        Shown by a notebook as it is; `savefig` writes it.

    Raises
    ------
    ConfigError
        If matplotlib is not installed.
    PredictdError
        If tensor, model, pairs and region do not fit.
    """
    if model is not None and not isinstance(model, (Model, CrossValidation)):
        path = path_of(model)
        model = CrossValidation(path) if path.is_dir() else load_model(path)
    if sd and not isinstance(model, CrossValidation):
        raise ConfigError("`sd` needs a cross-validation as `model`: its intervals are calibrated")
    chosen("scale", scale, ("linear", "arcsinh"))
    own, wanted = opened(tensor), pairs_of(pairs)
    window, _, _ = own._fetch(where, [own.pairs[0]])
    observed = {pair: own.fetch(where, pair)[:, 0] for pair in wanted if pair in set(own.pairs)}
    imputed, deviations = _imputed(own, model, where, wanted, sd)
    transforms = {entry.assay: TRANSFORMS[entry.transform] for entry in own._tensor.manifest.experiments}
    edges, rows = np.unique(window.spans), []
    for column, pair in enumerate(wanted):
        predicted = [None if values is None else values[:, column] for values in (imputed, deviations)]
        found = [_between(edges, window.starts, values) for values in (observed.get(pair), *predicted)]
        transform = transforms.get(pair.assay, TRANSFORMS["none"])
        rows.append(Row(str(pair), found[0], found[1], found[2], (transform.lower, transform.upper)))
    place = Interval(window.chrom, int(window.starts[0]), int(window.ends[-1]))
    listed = path_or_none(genes)
    drawn = None if listed is None else [Gene(*gene[:4]) for gene in read_genes(listed, place)]
    return styled(
        lambda: browser_figure(window.chrom, edges, rows, drawn, scale=scale, width=width, title=title)
    )


def _between(
    edges: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], values: npt.NDArray[np.float32] | None
) -> npt.NDArray[np.float32] | None:
    """Values of bins by the edges between which they lie; between two regions nothing is known."""
    if values is None:
        return None
    found = np.full(len(edges) - 1, np.nan, dtype=np.float32)
    found[np.searchsorted(edges, starts)] = values
    return found


def _imputed(
    tensor: Tensor,
    model: Model | CrossValidation | None,
    where: Region,
    pairs: Sequence[Any],
    sd: bool | None,
) -> tuple[npt.NDArray[np.float32] | None, npt.NDArray[np.float32] | None]:
    """Imputed signal, and its deviation where that is wanted: (bins × pairs) each."""
    if model is None:
        return None, None
    if isinstance(model, CrossValidation) and (model.coverage is not None if sd is None else sd):
        both = model.impute(tensor, pairs, region=where, sd=True)
        return both["signal"].to_numpy(), both["sd"].to_numpy()
    return model.impute(tensor, pairs, region=where).to_numpy(), None


def __dir__() -> list[str]:
    return __all__
