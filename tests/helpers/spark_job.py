"""What runs tests of the engine on Spark, on the master that the variable MASTER names, as Spark itself reads it."""

from __future__ import annotations

import sys

import pytest

import predictd.engine.spark  # noqa: F401

if __name__ == "__main__":
    sys.exit(pytest.main(sys.argv[1:]))
