"""`predictd network`: gene regulatory networks."""

from __future__ import annotations

from predictd.cli.groups import LazyGroup

COMMANDS = {
    "classify": "Predict classes of genes from their place in a network.",
    "enrich": "Test groups of a network's genes for gene sets.",
    "evaluate": "Score a network against known links.",
    "filter": "Keep a network's strongest links.",
    "infer": "Infer which genes regulate which from their expression.",
    "stats": "Measure a network's genes: centralities, hubs, communities.",
    "view": "Make an interactive page of a network, GraphML, and figures.",
}

command = LazyGroup(
    "predictd.cli.network",
    COMMANDS,
    name="network",
    help="Gene regulatory networks from expression, as GENIE3.",
)
