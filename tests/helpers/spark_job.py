"""What runs tests of the engine on Spark, on the master that the variable MASTER names, as Spark itself reads it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from predictd.engine.spark import SparkEngine


class Shared:
    """What files of cases share."""

    @pytest.fixture(scope="session")
    def spark_engine(self) -> Iterator[SparkEngine]:
        """An engine of two workers, in one Spark application for all."""
        with SparkEngine(2) as engine:
            yield engine


if __name__ == "__main__":
    sys.exit(pytest.main(sys.argv[1:], plugins=[Shared()]))
