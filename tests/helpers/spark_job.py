"""What runs tests of the engine on Spark, on the master that the variable MASTER names, as Spark itself reads it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from predictd.engine.spark import SparkEngine


@pytest.fixture(scope="session")
def spark_engine() -> Iterator[SparkEngine]:
    """An engine of two workers, in one Spark application for all files of cases."""
    with SparkEngine(2) as engine:
        yield engine


if __name__ == "__main__":
    sys.exit(pytest.main(sys.argv[1:], plugins=[sys.modules[__name__]]))
