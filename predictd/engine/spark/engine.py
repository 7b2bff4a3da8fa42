"""The Spark engine: what the driver does."""

from __future__ import annotations

import pickle
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from py4j.protocol import Py4JJavaError
from pyspark import Accumulator, InheritableThread, SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from predictd import interrupt
from predictd.engine.base import (
    Array,
    Engine,
    Key,
    Program,
    Result,
    Task,
    join_subtrees,
    subtrees,
)
from predictd.engine.meeting import EndedElsewhere
from predictd.engine.spark import session, shared_paths
from predictd.engine.spark.mesh import Relay
from predictd.engine.spark.tasks import (
    Cast,
    Notes,
    NotesParam,
    Work,
    join_sums,
    map_keys,
    run_worker,
    sum_keys,
    under_parent,
)
from predictd.errors import EngineError
from predictd.progress import progress_bar

_POLL_SECONDS = 0.1
# Sums that are held at one place at a time, the driver too: of 1015 experiments each is 8 MB.
_SUMS_AT_ONCE = 4
_ROWS_BETWEEN_LOOKS = 10_000

Value = TypeVar("Value")


class SparkEngine(Engine):
    """The executors of a Spark session: of the active one, or of one that is started here and ends with the engine.

    Parameters
    ----------
    workers
        Tasks at once; None: as many as the executors can run that are there after the start.
    master
        URL of the cluster to start a session on; None: as Spark is configured, and without that this machine.
    """

    name = "spark"
    has_tables = True

    def __init__(self, workers: int | None = None, *, master: str | None = None) -> None:
        self._master = master
        self._wanted = workers
        self._context: SparkContext | None = None
        self._owned = False
        self._files: set[Path] = set()
        self._open()

    def map(
        self,
        task: Task[Result],
        keys: Sequence[Key],
        shared: Any,
        *,
        label: str = "",
        sizes: Sequence[int] | None = None,
    ) -> list[Result]:
        """See `Engine.map`; a job with a partition for each key."""
        interrupt.stop_if_asked()
        if not keys:
            return []
        context = self._open()
        notes = _notes(context)
        work = self._work((task, shared), notes)
        rows = context.parallelize(list(enumerate(keys)), len(keys))
        results = self._run(
            rows.mapPartitions(partial(map_keys, work)).collect, notes, task.__name__, label, len(keys)
        )
        return [pickle.loads(result) for result in results]

    def reduce(
        self,
        task: Task[Array],
        keys: Sequence[Key],
        shared: Any,
        *,
        label: str = "",
        sizes: Sequence[int] | None = None,
    ) -> Array:
        """See `Engine.reduce`; subtrees are summed by executors, level by level, and joined by the driver."""
        if not keys:
            raise ValueError("nothing to sum: no keys")
        interrupt.stop_if_asked()
        context = self._open()
        notes = _notes(context)
        work = self._work((task, shared), notes)
        ordered = sorted(keys)
        nodes = subtrees(0, len(ordered), 4 * self.workers)
        rows = [(node, ordered[slice(*node)]) for node in nodes]
        sums = context.parallelize(rows, len(rows)).mapPartitions(partial(sum_keys, work))
        total = len(nodes)
        while len(nodes) > _SUMS_AT_ONCE:
            # A level of the tree some steps up, whose sums are made where their parts are brought together.
            nodes = subtrees(0, len(ordered), -(-len(nodes) // _SUMS_AT_ONCE))
            starts = [start for start, _ in nodes]
            sums = (
                sums.map(partial(under_parent, starts))
                .partitionBy(len(nodes), int)
                .mapPartitions(partial(join_sums, nodes, notes))
            )
        collected = dict(self._run(sums.collect, notes, task.__name__, label, total))
        self.bytes_sent += sum(part.nbytes for part in collected.values())
        return join_subtrees(collected, 0, len(ordered))

    def spmd(self, program: Program[Result], keys: Sequence[Key], shared: Any) -> list[Result]:
        """See `Engine.spmd`; the workers are tasks of one barrier stage."""
        context = self._open()
        self._check_slots(context)
        notes = _notes(context)
        token = secrets.token_bytes(32)
        conf = context.getConf()
        host = conf.get("spark.driver.host")
        bind = conf.get("spark.driver.bindAddress", host)
        assert host is not None and bind is not None
        with closing(Relay(bind, host, token)) as relay:
            work = self._work((program, list(keys), shared), notes)
            cast = Cast(self.workers, token, relay.address)
            rows = context.parallelize(range(self.workers), self.workers).barrier()
            results = rows.mapPartitions(partial(run_worker, work, cast))
            # Spark starts a barrier stage again only where another stage takes its results.
            by_rank = dict(self._run(results.partitionBy(1).collect, notes, program.__name__, relay=relay))
        return [pickle.loads(by_rank[rank]) for rank in range(self.workers)]

    def check_shared_paths(self, *files: Path) -> None:
        """See `Engine.check_shared_paths`; every executor looks at each file once."""
        context = self._open()
        if session.is_cluster_mode(context):
            shared_paths.require_absolute(files)
        new = {file.absolute() for file in files} - self._files
        if new and not context.master.startswith("local"):
            self._files |= new
            # As many tasks at once as there are slots: every executor has one.
            self.map(shared_paths.nothing, range(max(self.workers, session.slots(context))), None)

    def sql_session(self, n_partitions: int) -> SparkSession:
        """A session for tables, which shuffles them into so many partitions.

        It has settings of its own, so that those of a session that was there before stay as they are.
        """
        self._open()
        own = SparkSession.builder.getOrCreate().newSession()
        own.conf.set("spark.sql.shuffle.partitions", str(n_partitions))
        return own

    def result_of(self, action: Callable[[], Value], name: str) -> Value:
        """Result of an action on tables; `name` of them in messages. Signals and errors are as of `map`."""
        return self._run(action, _notes(self._open()), name)

    def rows_of(self, frame: DataFrame, name: str) -> Iterator[tuple[Any, ...]]:
        """Rows of a table in order, some partitions at a time at the driver; `name` and signals as of `result_of`."""
        try:
            for count, row in enumerate(frame.toLocalIterator(prefetchPartitions=True)):
                if count % _ROWS_BETWEEN_LOOKS == 0:
                    interrupt.stop_if_asked()
                yield tuple(row)
        except (Py4JJavaError, PySparkException) as err:
            raise session.gave_up(name, err) from err

    def close(self) -> None:
        """Stop the session, if it was started by this engine."""
        if self._context is not None and self._owned:
            if interrupt.requested():
                # Cancelled tasks that end after the context have traces of their own.
                self._context.setLogLevel("OFF")
            self._context.stop()
        self._context = None

    def _open(self) -> SparkContext:
        if self._context is None:
            self._context, self._owned = session.open_context(self._master, self._wanted)
            try:
                self.workers = session.await_workers(self._context, self._wanted)
                session.check_executors(self._context, self.workers)
            except BaseException:
                self.close()
                raise
        return self._context

    def _work(self, payload: tuple[Any, ...], notes: Accumulator[Notes]) -> Work:
        return Work(pickle.dumps(payload), str(Path.cwd()), notes, shared_paths.marker_files(self._files))

    def _check_slots(self, context: SparkContext) -> None:
        """Refuse a program whose workers could not all run at once: they would wait for each other."""
        if session.is_dynamic(context):
            raise EngineError(
                "the workers of sgd must all run at once, and Spark would take executors away in between: set "
                "spark.dynamicAllocation.enabled to false, or use the `solver` em"
            )
        if (slots := session.await_slots(context, self.workers)) < self.workers:
            raise EngineError(
                f"the workers of sgd must all run at once: {self.workers} were asked for, and the executors have room "
                f"for {slots}; set `workers` to {slots}, or start more executors"
            )

    def _run(
        self,
        action: Callable[[], Value],
        notes: Accumulator[Notes],
        name: str,
        label: str = "",
        total: int = 0,
        *,
        relay: Relay | None = None,
    ) -> Value:
        """Result of a job, which ends before its time at the first error that tasks note, and when a signal asks.

        Parameters
        ----------
        action
            Runs the job.
        notes
            Of its tasks.
        name
            Of task or program, in messages.
        label, total
            Of the progress bar.
        relay
            Through which a program hears of a signal, to end by itself.
        """
        job = _SparkJob(self._open(), action, label or name)
        ending = "" if relay else "cancelling the Spark job"
        with (
            progress_bar(label, total, shown=bool(label)) as bar,
            interrupt.after(ending, soon=ending),
        ):
            try:
                while job.is_running():
                    if bar.watched:
                        bar.update(min(total, job.tasks_done()) - bar.n)
                    if interrupt.requested() and relay is not None:
                        relay.tell(interrupt.number())
                    # A program's other workers end by themselves, and say whose error it is.
                    elif interrupt.requested() or (notes.value.errors and relay is None):
                        job.cancel()
            except KeyboardInterrupt:
                job.cancel()
                raise
        found = notes.value
        self.bytes_sent += found.bytes_sent
        self.peak_memory_bytes = max(self.peak_memory_bytes, found.peak_memory_bytes)
        if found.errors:
            _, _, error = min(
                ((isinstance(err, EndedElsewhere), index, err) for index, err in found.errors.items()),
                key=lambda candidate: candidate[:2],
            )
            raise error
        if relay is None:
            interrupt.stop_if_asked()
        if job.error is not None:
            raise session.gave_up(name, job.error) from job.error
        return job.results[0]


class _SparkJob:
    """A Spark job in a thread of its own, so that the main thread sees signals."""

    def __init__(self, context: SparkContext, action: Callable[[], Any], description: str) -> None:
        self.results: list[Any] = []
        self.error: Exception | None = None
        self._context = context
        self._group = f"predictd-{uuid4()}"

        def run() -> None:
            try:
                context.setJobGroup(self._group, description)
                self.results.append(action())
            except Exception as err:
                self.error = err

        self._thread = InheritableThread(target=run, daemon=True)
        self._thread.start()

    def is_running(self) -> bool:
        """Whether the job goes on; waits a moment for its end."""
        self._thread.join(_POLL_SECONDS)
        return self._thread.is_alive()

    def tasks_done(self) -> int:
        tracker = self._context.statusTracker()
        stages = {
            stage
            for number in tracker.getJobIdsForGroup(self._group)
            if (job := tracker.getJobInfo(number)) is not None
            for stage in job.stageIds
        }
        return sum(info.numCompletedTasks for stage in stages if (info := tracker.getStageInfo(stage)))

    def cancel(self) -> None:
        """End the job; to be called until it has ended, since it may not have been submitted yet."""
        self._context.cancelJobGroup(self._group)


def _notes(context: SparkContext) -> Accumulator[Notes]:
    return context.accumulator(Notes(), NotesParam())
