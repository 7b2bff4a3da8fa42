"""predictd as a Spark application: `spark-submit [OPTIONS] spark_submit.py COMMAND ...`, the words of `predictd`.

Session, master, executors and archives are spark-submit's; see docs/spark.md.
"""

from __future__ import annotations

import sys

try:
    from predictd.cli import main
except ModuleNotFoundError as err:
    sys.exit(
        f"predictd: error: the driver's Python ({sys.executable}) has no {err.name}: name one that has predictd with "
        "--conf spark.pyspark.driver.python=PATH (in cluster mode: spark.pyspark.python)"
    )

if __name__ == "__main__":
    main()
