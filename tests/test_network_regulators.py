"""Names of listed regulators that are not quite those of the matrix, and counts that were not normalised."""

from __future__ import annotations

import logging

import numpy as np
from scipy.sparse import csr_array

from made_expression import CELLS, GENES, IDS
from predictd.errors import DataError
from predictd.io.network.expression import Expression
from predictd.workflows.network.inputs import warn_of_counts
from predictd.workflows.network.regulators import find_genes
from refusals import refused


def named(genes):
    return Expression(tuple(genes), CELLS, np.zeros((len(genes), 5)), "rows")


def test_versions_of_ensembl_are_passed_over(caplog):
    genes = (
        "ENSG00000000001.5",
        "ENSG00000000002",
        "ENSG00000000003.1",
        "ENSG00000000003.1_PAR_Y",
        "jun-1.2",
    )
    listed = ["ENSG00000000003", "ENSG00000000001", "ENSG00000000002.7", "jun-1"]
    found, missing = find_genes(named(genes), "m", listed)
    assert found.tolist() == [0, 1, 2] and missing == ["jun-1"]
    assert (
        "3 of the 4 regulators in the list are found by their Ensembl numbers without versions" in caplog.text
    )
    assert "ENSG00000000001 as ENSG00000000001.5" in caplog.text
    # Not where two genes have the number, nor where the name itself is there.
    genes = ("ENSG00000000001.5", "ENSG00000000001.6", "ENSG00000000002.1", "ENSG00000000002")
    found, missing = find_genes(named(genes), "m", ["ENSG00000000001", "ENSG00000000002"])
    assert found.tolist() == [3] and missing == ["ENSG00000000001"]


def test_upper_and_lower_case_is_told_and_not_matched(caplog):
    with refused(
        DataError, "none of the 2 regulators", "2 differ only in upper and lower case, SOX2 and Sox2"
    ):
        find_genes(named(GENES), "m", ["SOX2", "PAX6"])
    found, missing = find_genes(named(GENES), "m", ["Sox2", "PAX6", "Xyz"])
    assert found.tolist() == [0] and missing == ["PAX6", "Xyz"]
    assert "left out: PAX6, Xyz (1 differ only in upper and lower case, PAX6 and Pax6" in caplog.text


def test_numbers_against_symbols_are_told():
    with refused(DataError, "the list has Ensembl numbers, the matrix has other names: give `gene_column`"):
        find_genes(named(GENES), "m", list(IDS))
    with refused(DataError, "the matrix has Ensembl numbers, the list has other names: give `gene_column`"):
        find_genes(named(IDS), "m", list(GENES))


def test_counts_that_were_not_normalised_are_warned_of(caplog):
    rng = np.random.default_rng(0)
    counts = rng.poisson(30, (100, 6)) * np.array([1, 1, 2, 1, 1, 3])
    even = counts / counts.sum(axis=0) * 1e4
    for values, is_counts in (
        (counts.astype(float), True),
        (csr_array(counts.astype(float)), True),
        (even, False),
        (np.log1p(counts), False),
        (counts - 40.0, False),
        (np.minimum(counts, 1).astype(float), False),
        (rng.multinomial(5000, np.full(100, 0.01), 6).T.astype(float), False),
    ):
        caplog.clear()
        expression = Expression(tuple(f"G{i}" for i in range(100)), None, values, "rows")
        with caplog.at_level(logging.WARNING):
            warn_of_counts(expression, "m")
        assert ("they look like raw counts" in caplog.text) == is_counts
