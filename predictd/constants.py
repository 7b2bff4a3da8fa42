"""Names and numbers of the file formats, in one place."""

from __future__ import annotations

from typing import Final

TENSOR_FORMAT: Final = "predictd-tensor"
TENSOR_VERSION: Final = 1
# Of tensors and of shards where several contigs share a shard.
SHARED_VERSION: Final = 2
MODEL_FORMAT: Final = "predictd-model"
MODEL_VERSION: Final = 1
CHECKPOINT_FORMAT: Final = "predictd-checkpoint"
CHECKPOINT_VERSION: Final = 1

MOMENTS_FORMAT: Final = "predictd-moments"
MOMENTS_VERSION: Final = 2
# Bins with their context, for networks to learn from.
SAMPLE_FORMAT: Final = "predictd-sample"
SAMPLE_VERSION: Final = 2

# Counts of residuals of held-out experiments, and what they are calibrated to.
CHOICE_FORMAT: Final = "predictd-choice"
CHOICE_VERSION: Final = 1
RESIDUALS_FORMAT: Final = "predictd-residuals"
RESIDUALS_VERSION: Final = 1
UNCERTAINTY_FORMAT: Final = "predictd-uncertainty"
UNCERTAINTY_VERSION: Final = 2

NETWORK_FORMAT: Final = "predictd-network"
NETWORK_VERSION: Final = 2
EXPRESSION_FORMAT: Final = "predictd-expression"
EXPRESSION_VERSION: Final = 2

MANIFEST: Final = "manifest.json"
SHARDS: Final = "shards"
MOMENTS: Final = "moments.h5"
RUN_JSON: Final = "run.json"
FOLDS_JSON: Final = "folds.json"
MODELS: Final = "models"
METRICS_TSV: Final = "metrics.tsv"
UNCERTAINTY_JSON: Final = "uncertainty.json"
COVERAGE_TSV: Final = "coverage.tsv"
COVERAGE_BY_SIGNAL_TSV: Final = "coverage_by_signal.tsv"
INTERVALS_TSV: Final = "intervals.tsv"
DENSITY_H5: Final = "density.h5"
TRACKS_TSV: Final = "tracks.tsv"
NETWORK_H5: Final = "network.h5"
LINKS_TSV: Final = "links.tsv"
QUALITY_TSV: Final = "quality.tsv"
DECAY_TSV: Final = "decay.tsv"
EXPRESSION_TSV: Final = "expression.tsv"
# What is next to an output, or inside it, while it is unfinished.
PARTIAL: Final = ".partial"

BIN_SIZE: Final = 25
MAX_SHARD_BINS: Final = 2**18
# A shard is held in memory while it is made: this many values (256 MiB of float16) at most.
MAX_SHARD_VALUES: Final = 2**27
# Chromosomes that have a shard or more each; where there are more of them, short ones share.
MAX_LONE_CONTIGS: Final = 512
CHUNK_BYTES: Final = 2**20
# Bins handled at once by streaming passes: large enough for BLAS, small enough for cache and memory.
BLOCK_BINS: Final = 4096

# Bins with fewer observed experiments than this share are left empty when imputing.
MIN_OBSERVED: Final = 0.5
# Share of complete bins under which training warns, and under which it refuses.
WARN_COMPLETE: Final = 0.95
REFUSE_COMPLETE: Final = 0.5

MAX_OPEN_TRACKS: Final = 64
# Longer lists of links are in network.h5 alone.
MAX_LISTED_LINKS: Final = 10_000_000
# A weight of a link list; every engine's reader takes the same.
LINK_WEIGHT: Final = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
# What Python takes for white space, within brackets of a regular expression: to Java, `\s` is that of ASCII alone.
WHITE_SPACE: Final = r"\s\x1c-\x1f\x85\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# How a link's sign may be written, and how it is written then; "." is one that is not known.
LINK_SIGNS: Final = {
    **dict.fromkeys(("+", "1", "+1", "1.0"), "+"),
    **dict.fromkeys(("-", "-1", "-1.0"), "-"),
    **dict.fromkeys((".", "0", "0.0", ""), "."),
}

# Measures of an evaluation, in the order of metrics.tsv.
MEASURES: Final = (
    "MSEglobal",
    "MSE1obs",
    "MSE1imp",
    "GWcorrasinh",
    "GWcorr",
    "GWspear",
    "Match1",
    "Catch1obs",
    "Catch1imp",
    "AucObs1",
    "AucImp1",
    "AuprObs1",
    "AuprImp1",
    "CatchPeakObs",
    "AuprPeakObs",
    "MSEprom",
    "MSEgene",
    "MSEenh",
    "MSEvar",
)
# The nine measures of the ENCODE Imputation Challenge, as it calls them, and which of ours each is, of signal in the
# unit of the track.
CHALLENGE: Final = {
    "mse": "MSEglobal",
    "gwcorr": "GWcorrasinh",
    "gwspear": "GWspear",
    "mseprom": "MSEprom",
    "msegene": "MSEgene",
    "mseenh": "MSEenh",
    "msevar": "MSEvar",
    "mse1obs": "MSE1obs",
    "mse1imp": "MSE1imp",
}
CHALLENGE_MEASURES: Final = tuple(CHALLENGE)
# Measures of which more is better; of the others less is.
MORE_IS_BETTER: Final = frozenset(
    {
        *("GWcorrasinh", "GWcorr", "GWspear", "Match1", "Catch1obs", "Catch1imp", "AucObs1", "AucImp1"),
        *("AuprObs1", "AuprImp1", "CatchPeakObs", "AuprPeakObs", "gwcorr", "gwspear"),
    }
)
# Whole numbers of metrics.tsv: bins that were compared, and bins in which a method had no value.
METRIC_COUNTS: Final = ("bins", "absent")
# Methods that every other is compared with, and the end of the names of methods whose values were mapped to the
# distribution of the observed track.
BASELINES: Final = ("assay_mean", "assay_mean_scaled")
MAPPED: Final = " (quantiles)"
METRIC_KEYS: Final = ("cell_type", "assay", "fold", "method")
# What groups of a network's genes may be made by.
GENE_GROUPS: Final = ("targets", "communities", "clusters")
