"""Simulated expression with known links."""

from __future__ import annotations

from pathlib import Path

import numpy as np

N_REGULATORS, N_GENES, N_SAMPLES = 6, 24, 40


def simulate_expression(seed=0):
    """Genes, (n_genes, n_samples) expression, and links: every other gene follows two of the first six."""
    rng = np.random.default_rng(seed)
    genes = [f"G{i}" for i in range(N_GENES)]
    expression = rng.normal(size=(N_GENES, N_SAMPLES))
    links = []
    for target in range(N_REGULATORS, N_GENES):
        pair = rng.choice(N_REGULATORS, 2, replace=False)
        expression[target] = expression[pair].sum(axis=0) + 0.5 * rng.normal(size=N_SAMPLES)
        links += [(genes[i], genes[target]) for i in pair]
    return genes, expression.round(5), links


def write_matrix(path: Path, genes, expression, head="gene") -> Path:
    """Genes in rows."""
    samples = [f"S{i}" for i in range(expression.shape[1])]
    rows = ["\t".join([gene, *map(str, row)]) for gene, row in zip(genes, expression.tolist(), strict=True)]
    path.write_text("\n".join(["\t".join([head, *samples]), *rows]) + "\n")
    return path


def write_network_case(folder: Path) -> None:
    """expression.tsv, regulators.txt and gold.tsv."""
    genes, expression, links = simulate_expression()
    write_matrix(folder / "expression.tsv", genes, expression)
    (folder / "regulators.txt").write_text("".join(f"{gene}\n" for gene in genes[:N_REGULATORS]))
    lines = ["regulator\ttarget", *("\t".join(link) for link in links)]
    (folder / "gold.tsv").write_text("\n".join(lines) + "\n")


def write_link_case(path: Path, n_regulators=40, n_targets=300, seed=0) -> None:
    """A list as of another tool, in no order, with ties and weights written in different ways."""
    rng = np.random.default_rng(seed)
    rows = []
    for target in range(n_targets):
        for regulator in rng.choice(n_regulators, 8, replace=False).tolist():
            weight = rng.choice(["0.5", "0.50", "5e-1", "1", f"{rng.random():.17g}", f"{rng.random():.3f}"])
            rows.append(f"TF{regulator}\tgene{target}\t{weight}")
    rng.shuffle(rows)
    path.write_text("TF\ttarget\timportance\n" + "\n".join(rows) + "\n")
