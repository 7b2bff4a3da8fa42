"""What runs the tests of every engine on Spark, on the master that the variable MASTER names, as Spark reads it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import predictd.engine.spark  # noqa: F401

if __name__ == "__main__":
    sys.exit(pytest.main([*sys.argv[1:], str(Path(__file__).with_name("test_engine.py"))]))
