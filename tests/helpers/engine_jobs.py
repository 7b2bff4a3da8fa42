"""Processes for the tests of engines: some are sent signals, others lose a worker."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine_tasks import descend_and_lose_executor, leave_mark, never_ending, power, wait_until
from predictd import interrupt
from predictd.cli import acknowledge
from predictd.engine import LocalEngine
from predictd.errors import Interrupted


def tell_of_signals(folder: Path) -> None:
    """Make a file once the first signal has been noted, so that the next one is the second."""

    def tell() -> None:
        wait_until(interrupt.requested, "a signal")
        (folder / "asked").touch()

    threading.Thread(target=tell, daemon=True).start()


def run_map(folder: Path) -> None:
    """Map over five keys with two workers, as a command does; stop signals are turned into requests."""
    tell_of_signals(folder)
    try:
        with interrupt.catching(acknowledge), LocalEngine(2) as engine:
            engine.map(leave_mark, list(range(5)), folder)
    except Interrupted as err:
        print(err)
        sys.exit(err.exit_code)


def run_spmd(folder: Path) -> None:
    tell_of_signals(folder)
    with interrupt.catching(acknowledge), LocalEngine(2) as engine, interrupt.after("this round"):
        engine.spmd(never_ending, [], folder)


def run_under_fire(folder: Path) -> None:
    """Start workers while signals rain on the whole process group, as when a job is told to end."""
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    done = threading.Event()

    def fire() -> None:
        while not done.is_set():
            os.killpg(0, signal.SIGUSR1)
            time.sleep(0.001)

    with LocalEngine(2) as engine:
        threading.Thread(target=fire, daemon=True).start()
        try:
            print(engine.map(power, [2, 3, 4], 2))
        finally:
            done.set()


def run_mpi_map(folder: Path) -> None:
    """`run_map` under mpiexec: its other ranks serve the first."""
    from predictd.engine.mpi import MpiEngine, join

    tell_of_signals(folder)
    try:
        with interrupt.catching(None if int(os.environ["PMI_RANK"]) else acknowledge):
            join()
            MpiEngine(1).map(leave_mark, list(range(5)), folder, label="marks")
    except Interrupted as err:
        print(err)
        sys.exit(err.exit_code)
    except KeyboardInterrupt:
        sys.exit(interrupt.STOPPED_NOW)


def run_commands(folder: Path) -> None:
    """The predictd commands that `commands.json` lists, one after the other in one process, or one MPI job."""
    from predictd.cli import main

    for command in json.loads((folder / "commands.json").read_text()):
        main([*map(str, command)])


def run_mpi_kill(folder: Path) -> None:
    """A predictd command under mpiexec of which rank 1 is killed at a moment; see `run_until`."""
    run_until(folder, lambda: os.kill(os.getpid(), signal.SIGKILL))


def run_mpi_wait(folder: Path) -> None:
    """A predictd command under mpiexec of which rank 1 waits at a moment until a signal has come."""
    run_until(folder, lambda: wait_until(interrupt.requested, "a signal"))


def run_until(folder: Path, act: Callable[[], None]) -> None:
    """A predictd command whose rank 1 acts when it begins its nth task of some name, given as NAME:N.

    The name may be `sgd_updates`: then it acts in the nth call of the kernel in a descent.
    """
    import predictd.engine.base
    import predictd.engine.mpi.engine
    import predictd.workflows.training.sgd.descent
    from predictd.cli import main

    wanted, nth = sys.argv[3].split(":")
    run_task, sgd_updates = predictd.engine.base.run_task, predictd.workflows.training.sgd.descent.sgd_updates
    begun = 0

    def count(name: str) -> None:
        nonlocal begun
        begun += name == wanted
        if name == wanted and begun == int(nth):
            (folder / "reached").touch()
            act()

    def counted_task(task: Callable[[Any, Any], Any], key: Any, shared: Any) -> Any:
        count(task.__name__)
        return run_task(task, key, shared)

    def counted_updates(*arguments: Any, **options: Any) -> float:
        count("sgd_updates")
        return sgd_updates(*arguments, **options)

    if os.environ["PMI_RANK"] == "1":
        predictd.engine.base.run_task = counted_task
        predictd.engine.mpi.engine.run_task = counted_task
        predictd.workflows.training.sgd.descent.sgd_updates = counted_updates
    main(sys.argv[4:])


def run_spark_commands(folder: Path) -> None:
    """`run_commands` in one Spark application."""
    from predictd.engine.spark import SparkEngine

    with SparkEngine(2):
        run_commands(folder)


def run_spark_loss(folder: Path) -> None:
    """A predictd command whose descents lose an executor."""
    import predictd.workflows.training.sgd.fit
    from predictd.cli import main

    predictd.workflows.training.sgd.fit.descend = descend_and_lose_executor
    sys.argv = ["predictd", *sys.argv[3:]]
    main()


if __name__ == "__main__":
    {
        "map": run_map,
        "spmd": run_spmd,
        "fire": run_under_fire,
        "mpi-map": run_mpi_map,
        "commands": run_commands,
        "mpi-kill": run_mpi_kill,
        "mpi-wait": run_mpi_wait,
        "spark-commands": run_spark_commands,
        "spark-loss": run_spark_loss,
    }[sys.argv[1]](Path(sys.argv[2]))
