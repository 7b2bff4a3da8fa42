"""`predictd network`: gene regulatory networks."""

from __future__ import annotations

from predictd.cli.groups import LazyGroup

SECTIONS = {
    "Make a network": {
        "infer": "Infer which genes regulate which from their expression.",
        "filter": "Keep a network's strongest links.",
        "combine": "Combine several networks by the ranks of their links.",
        "evaluate": "Score a network against known links.",
    },
    "Learn from a network": {
        "stats": "Measure a network's genes: centralities, hubs, communities.",
        "regulons": "Write each regulator's strongest targets as gene sets.",
        "aucell": "Score the activity of regulons in each cell.",
        "enrich": "Test groups of a network's genes for gene sets.",
        "classify": "Predict classes of genes from their place in a network.",
        "view": "Make an interactive page of a network, GraphML, and figures.",
    },
}

command = LazyGroup(
    "predictd.cli.network",
    SECTIONS,
    name="network",
    help="Gene regulatory networks from expression, as GENIE3.",
)
