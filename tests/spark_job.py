"""What runs tests of the engine on Spark, on the master that the variable MASTER names, as Spark itself reads it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import predictd.engine.spark  # noqa: F401

if __name__ == "__main__":
    *options, name = sys.argv[1:]
    sys.exit(pytest.main([*options, str(Path(__file__).with_name(name))]))
