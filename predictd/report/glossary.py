"""What the numbers of a report mean, in the words of those who make the experiments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Meaning(NamedTuple):
    """What a number means.

    Attributes
    ----------
    text
        In a sentence or two.
    best
        What a good value looks like.
    """

    text: str
    best: str


_TRANSFORMED = "signal as the models see it: transformed so that large peaks do not outweigh all else"

# By the names of metrics.tsv.
MEASURE_MEANINGS = {
    "MSEglobal": Meaning(
        "Mean squared difference of imputed and observed signal over all bins, most of which are background. On "
        f"transformed signal ({_TRANSFORMED}). Assays with more signal have larger errors: compare within an assay.",
        "0",
    ),
    "MSE1obs": Meaning(
        "The same over the 1 % of bins with the strongest observed signal: is the height of real peaks right?",
        "0",
    ),
    "MSE1imp": Meaning(
        "The same over the 1 % of bins with the strongest imputed signal: is the height of imputed peaks right?",
        "0",
    ),
    "MSEvar": Meaning(
        "Squared error in which a bin counts the more, the more its signal differs between the cell types that were "
        "trained on: is what is special to a cell type right?",
        "0",
    ),
    "GWcorrasinh": Meaning(
        "Pearson correlation of imputed and observed signal along the genome, on transformed signal (the name is "
        "that of the arcsinh, but whatever transform the assay has is meant): do peaks and background lie in the "
        "same places, and do heights agree? Unlike errors it can be compared between assays.",
        "1; 0: no relation",
    ),
    "GWcorr": Meaning(
        "Pearson correlation of the signal as it is in the files. A few very high peaks decide it.", "1"
    ),
    "GWspear": Meaning(
        "Correlation of ranks: is the order of bins from weak to strong the same? Background has most weight.",
        "1",
    ),
    "Match1": Meaning(
        "Share of the 1 % strongest bins that the imputed and the observed track have in common: are the strongest "
        "peaks the same?",
        "1; 0.01 by chance",
    ),
    "Catch1obs": Meaning(
        "Share of the 1 % strongest observed bins that are among the 5 % strongest imputed ones: are real peaks found?",
        "1; 0.05 by chance",
    ),
    "Catch1imp": Meaning(
        "Share of the 1 % strongest imputed bins that are among the 5 % strongest observed ones: are imputed peaks "
        "real?",
        "1; 0.05 by chance",
    ),
    "AucObs1": Meaning(
        "Take a bin of the 1 % strongest observed ones, and any other: how often does the imputed track rank the "
        "first higher? (Area under the ROC curve.) Nearly all bins are background, so that even 0.95 can mean many "
        "wrong peaks.",
        "1; 0.5 by chance",
    ),
    "AucImp1": Meaning(
        "The same with the roles exchanged: how well does observed signal rank the 1 % strongest imputed bins?",
        "1; 0.5 by chance",
    ),
    "AuprObs1": Meaning(
        "Going down the imputed track from its strongest bin: what share of the bins so far is among the 1 % strongest "
        "observed ones, on average over these? (Area under the precision-recall curve.) As peaks are rare it says "
        "more than AucObs1.",
        "1; 0.01 by chance",
    ),
    "AuprImp1": Meaning(
        "The same with the roles exchanged: observed signal against the 1 % strongest imputed bins.",
        "1; 0.01 by chance",
    ),
    "CatchPeakObs": Meaning(
        "How well imputed signal ranks the bins in the peaks that were called in the experiment above all others "
        "(area under the ROC curve).",
        "1; 0.5 by chance",
    ),
    "AuprPeakObs": Meaning(
        "The same as area under the precision-recall curve, which says more where peaks are rare.",
        "1; by chance the share of bins in peaks",
    ),
    "MSEprom": Meaning("MSEglobal in promoters alone.", "0"),
    "MSEgene": Meaning("MSEglobal in genes alone.", "0"),
    "MSEenh": Meaning("MSEglobal in enhancers alone.", "0"),
}

# By the names of the report's tables.
_OTHER = {
    "fold": Meaning(
        "The test fold that held the experiment out; trained: its model was trained on it; validation: settings, or "
        "when to stop, may have been chosen on it.",
        "",
    ),
    "experiments": Meaning("Number of experiments that were scored.", ""),
    "lowest": Meaning("GWcorrasinh of the worst experiment.", "1"),
    "relative_sd": Meaning(
        "How sure the model is: the standard deviation that it predicts for its error, relative to the standard "
        "deviation of the track's signal along the genome that is expected from the other tracks. The larger it is, "
        "the wider are intervals. Where the track varies more than was expected, it may be above 1.",
        "0",
    ),
    "within_1sd": Meaning(
        "Share of bins where the observed signal lies within one predicted standard deviation of the imputed.",
        "",
    ),
    "within_95": Meaning(
        "Share of bins where the observed signal lies within the 95 % interval.", "0.95: the intervals hold"
    ),
    "best_baseline": Meaning(
        "MSEglobal of the better of two simple guesses: the mean of the same assay in other cell types, and that mean "
        "scaled to the cell type.",
        "",
    ),
    "ratio": Meaning(
        "MSEglobal divided by that of the better baseline, as geometric mean in tables of groups. Below 1 the model "
        "knows something of the cell type. An assay that is much alike in all cell types can be trusted with a ratio "
        "near 1.",
        "far below 1",
    ),
    "better": Meaning("Share of experiments with a ratio below 1.", "1"),
    "bins": Meaning("Bins on which the experiment was scored, for all methods the same.", ""),
    "absent": Meaning("Bins with an observed value in which the method had none.", "0"),
    "training_cell_type": Meaning("Training experiments of the same cell type.", ""),
    "training_assay": Meaning("Training experiments of the same assay.", ""),
    "qc": Meaning(
        "What 'predictd qc' suspects of the observed track: swapped, dead, saturated or of an odd amplitude.",
        "",
    ),
    "mse": Meaning("Mean squared error of a simple prediction by the other tracks.", "0"),
    "r": Meaning("Correlation of a track with a simple prediction by the other tracks.", "1"),
    "expected_r": Meaning(
        "The r that tracks of the same cell type and of the same assay lead to expect.", ""
    ),
    "flags": Meaning("What is suspected of the track.", "none"),
    "best_match": Meaning("The experiment that the track looks like.", "its own"),
    "gain": Meaning(
        "By how much the experiment lowers the expected squared error, summed over the missing experiments, after "
        "those before it.",
        "",
    ),
    "gain_per_dollar": Meaning("The gain divided by the cost.", ""),
}

MEANINGS = MEASURE_MEANINGS | _OTHER


def meanings_of(columns: Iterable[str]) -> dict[str, Meaning]:
    """Meanings of the columns that have one, in the order of the glossary."""
    wanted = set(columns)
    return {name: meaning for name, meaning in MEANINGS.items() if name in wanted}
