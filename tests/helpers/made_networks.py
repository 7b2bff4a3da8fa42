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


def simulate_series(n_series=6, n_times=14, seed=0):
    """Names and expression of 6 regulators and 18 targets in time series, links, series and times of the samples.

    Regulators are sums of waves; targets follow two of them by dx/dt = production − decay · x, and so come late. Times
    are not even.
    """
    rng = np.random.default_rng(seed)
    n_targets, fine = N_GENES - N_REGULATORS, np.arange(0, 12, 0.02)
    pairs = np.array([rng.choice(N_REGULATORS, 2, replace=False) for _ in range(n_targets)])
    decay = rng.uniform(0.2, 0.6, n_targets)
    samples, series, times = [], [], []
    for number in range(n_series):
        phases, speeds = rng.uniform(0, 6, (2, N_REGULATORS, 3)), rng.uniform(0.5, 1.5, (N_REGULATORS, 3, 1))
        regulators = 3 + np.sin(speeds * fine + phases[0][:, :, np.newaxis]).sum(axis=1)
        made, targets = regulators[pairs].sum(axis=1), np.empty((n_targets, fine.size))
        targets[:, 0] = rng.uniform(5, 15, n_targets)
        for step in range(fine.size - 1):
            targets[:, step + 1] = targets[:, step] + 0.02 * (made[:, step] - decay * targets[:, step])
        at = np.sort(rng.choice(fine.size, n_times, replace=False))
        own = np.concatenate([regulators, targets])[:, at]
        samples.append(own + 0.02 * rng.normal(size=own.shape))
        series += [f"series {number}"] * n_times
        times += fine[at].tolist()
    genes = [f"G{i}" for i in range(N_GENES)]
    links = [(genes[r], genes[N_REGULATORS + t]) for t, pair in enumerate(pairs) for r in pair.tolist()]
    return genes, np.concatenate(samples, axis=1).round(5), links, series, times
