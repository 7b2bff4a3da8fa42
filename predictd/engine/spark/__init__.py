"""The Spark engine: a driver that runs the command, and executors that Spark starts, watches and replaces."""

from predictd.errors import EngineError
from predictd.wording import install

try:
    import pyspark  # noqa: F401
except ImportError as err:
    raise EngineError(f"the spark engine needs pyspark ({err}): {install('spark')}") from err

from predictd.engine.spark.engine import SparkEngine

__all__ = ["SparkEngine"]
