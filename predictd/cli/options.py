"""Options that several commands share, and what they set up."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from predictd import progress
from predictd.cli.command import ENGINE, MESSAGES, MODEL, Option
from predictd.cli.messages import as_usage
from predictd.config import SolverName, load_config
from predictd.engine import Engine, LocalEngine
from predictd.io.remote import as_path, is_remote
from predictd.io.tables import is_number
from predictd.launcher import ARRAY_VARIABLES, announced, array_task, longest_array, submitted_to_spark

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from predictd.workflows.parts import InParts

log = logging.getLogger(__name__)

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Report = TypeVar("Report")

ENGINES = ("local", "mpi", "spark")
# Genomes that come with predictd, for help; their files are not looked at for that.
GENOMES = "hg38, hg19, mm10, mm39, dm6, ce11"
_MASTER = "predictd.master"


class PathOrUrl(click.ParamType):
    """A path, or the URL of a place in an object store."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Make a path of a file system or of an object store."""
        return value if isinstance(value, Path) else as_path(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Leave it to the shell, which completes files."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


class NamesOrFile(PathOrUrl):
    """A file of names, or the names themselves by commas."""

    name = "file or names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Make a path where there is such a file, else a list of names."""
        if not isinstance(value, str):
            return value
        path = as_path(value)
        if is_remote(value) or path.is_file():
            return path
        if value.lower().endswith((".txt", ".tsv", ".csv")):
            self.fail(f"there is no file {value}", param, ctx)
        return [name.strip() for name in value.split(",") if name.strip()]


class Part(click.ParamType):
    """The number of a part, or `array`: what this task of a job array, or this host of several, is to make."""

    name = "part"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | slice:
        """Make a number; of a task of an array its index, counted from FIRST_PART in the environment.

        Hosts that divide the parts among them take turns: a slice of all parts.
        """
        if value != "array":
            return value if isinstance(value, slice) else click.INT.convert(value, param, ctx)
        task = array_task()
        if task is None:
            reason = (
                f"no scheduler has set {', '.join(ARRAY_VARIABLES)}, and no job of Amazon SageMaker runs this"
            )
            self.fail(f"array: {reason}: give a number", param, ctx)
        first = os.environ.get("FIRST_PART") or "0"
        if not first.isdigit():
            self.fail(f"FIRST_PART={first} in the environment is not the number of a part", param, ctx)
        mine = int(first) + task.index
        return slice(mine, None, task.size) if task.divides else mine


class NumberOrFile(PathOrUrl):
    """A number, or a file."""

    name = "number or file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Make a number of what reads as one, else a path."""
        return float(value) if is_number(str(value)) else super().convert(value, param, ctx)


class LocalPath(PathOrUrl):
    """A path on this machine."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Make a path; refuse the URL of an object store."""
        if is_remote(str(value)):
            self.fail("it has to be a path on this machine, not in an object store", param, ctx)
        return as_path(str(value))


def in_section(section: str, *declarations: str, **settings: Any) -> Callable[[Decorated], Decorated]:
    """An option below that heading of the help."""
    return click.option(*declarations, cls=Option, section=section, **settings)


PATH = PathOrUrl()
LOCAL = LocalPath()
TENSOR = click.argument("tensor", type=PATH)
SEED = click.option("--seed", type=click.IntRange(min=0), help="Seed of everything random.  [default: 0]")
CONFIG = click.option(
    "--config", type=PATH, help="TOML file of settings; options on the command line replace its values."
)
SCRATCH = in_section(
    ENGINE,
    "--scratch",
    type=LOCAL,
    help="Directory of each node for copies of the shards, where TENSOR is far away.",
)
OUTPUT_FILE = click.option("-o", "--output", type=PATH, required=True, help="File to write.")
OUTPUT_DIRECTORY = click.option("-o", "--output", type=PATH, required=True, help="Directory to write.")


class NumberOrAuto(click.ParamType):
    """A number of some type within limits, or the word `auto`."""

    def __init__(self, number: click.ParamType) -> None:
        self.number = number
        self.name = f"{number.name}|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Keep `auto`; make a number of anything else, and check its limits."""
        return value if value == "auto" else self.number.convert(value, param, ctx)


# What a model is fitted with, from the last to the first of the help.
_FITTING = (
    CONFIG,
    SEED,
    in_section(
        MODEL, "--moments", type=PATH, help="Second moments of tracks; made if missing.  [default: in TENSOR]"
    ),
    in_section(
        MODEL,
        "--predictd-constants",
        is_flag=True,
        default=None,
        help="sgd: fixed penalties of the paper; it minimises another quantity then.",
    ),
    in_section(
        MODEL,
        "--lambda",
        "penalty",
        type=NumberOrAuto(click.FloatRange(min=0)),
        metavar="X|auto",
        help="Penalty of cell and assay factors; em: strength of their prior.  [default: auto]",
    ),
    in_section(
        MODEL,
        "--rank",
        type=NumberOrAuto(click.IntRange(min=1)),
        metavar="N|auto",
        help="Number of factors; auto: chosen on validation experiments.  [default: auto]",
    ),
    in_section(
        MODEL,
        "--solver",
        type=click.Choice(get_args(SolverName)),
        help="How models are fitted; auto: stack, which weighs the others.  "
        "[default: auto; em where a rank or lambda is given]",
    ),
)


def fitting(function: Decorated) -> Decorated:
    """What a model is fitted with, on the command line and in --config: handed over as `settings`; and --moments."""

    @wraps(function)
    def with_settings(
        *args: Any,
        solver: str | None,
        rank: int | str | None,
        penalty: float | str | None,
        predictd_constants: bool | None,
        seed: int | None,
        config: Path | None,
        **others: Any,
    ) -> Any:
        given = {
            "solver": solver,
            "rank": rank,
            "lambda": penalty,
            "predictd_constants": predictd_constants,
        }
        settings = load_config(config, {"seed": seed, "train": given})
        return function(*args, settings=settings, **others)

    decorated: Any = with_settings
    for option in _FITTING:
        decorated = option(decorated)
    result: Decorated = decorated
    return result


def of_matrix(function: Decorated) -> Decorated:
    """What is read of EXPRESSION: handed over as `choice`."""

    @wraps(function)
    def with_choice(
        *args: Any, orientation: Any, layer: str | None, raw: bool, gene_column: str | None, **others: Any
    ) -> Any:
        from predictd.io.network.expression import MatrixChoice

        with as_usage():
            choice = MatrixChoice(orientation, layer, raw, gene_column)
        return function(*args, choice=choice, **others)

    decorated: Any = with_choice
    for option in (
        click.option(
            "--gene-column",
            help="Column of AnnData's var, loom's or 10x's features that names genes, e.g. gene_symbols, id.  "
            "[default: AnnData's index, loom's Gene, 10x's name]",
        ),
        click.option("--raw", is_flag=True, help="AnnData's raw instead of its main matrix."),
        click.option("--layer", help="Layer of EXPRESSION, of AnnData or loom.  [default: the main matrix]"),
        click.option(
            "--genes",
            "orientation",
            type=click.Choice(["rows", "columns"]),
            help="Where the genes are in EXPRESSION.  [default: by header]",
        ),
    ):
        decorated = option(decorated)
    result: Decorated = decorated
    return result


def _set_verbosity(ctx: click.Context, parameter: click.Parameter, value: bool | None) -> None:
    if not value:
        return
    level = {"quiet": logging.ERROR, "verbose": logging.INFO, "debug": logging.DEBUG}[str(parameter.name)]
    logging.getLogger("predictd").setLevel(level)
    progress.set_quiet(parameter.name == "quiet")


def verbosity(function: Decorated) -> Decorated:
    """--quiet, --verbose and --debug."""
    for name, text in (
        ("debug", "Show where an error comes from."),
        ("verbose", "Print more, with times."),
        ("quiet", "Print only errors."),
    ):
        function = in_section(
            MESSAGES, f"--{name}", is_flag=True, expose_value=False, callback=_set_verbosity, help=text
        )(function)
    return function


def _keep_master(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    ctx.meta[_MASTER] = value


def on_engine(function: Decorated) -> Decorated:
    """--engine and --workers, handed over as `engine_name` and `workers`, and --master, for `make_engine`."""
    master = in_section(
        ENGINE,
        "--master",
        metavar="URL",
        expose_value=False,
        callback=_keep_master,
        help="spark: cluster to start a session on, e.g. spark://HOST:7077.  [default: as Spark is configured]",
    )
    workers = in_section(
        ENGINE,
        "--workers",
        type=click.IntRange(min=1),
        help="Tasks that run at the same time; mpi: in each rank.  [default: the CPUs that may be used]",
    )
    engine = in_section(
        ENGINE,
        "--engine",
        "engine_name",
        type=click.Choice(ENGINES),
        help="What runs the tasks.  [default: mpi under mpiexec or srun with several tasks, spark under spark-submit, "
        "else local]",
    )
    return verbosity(engine(workers(master(function))))


@dataclass(frozen=True)
class Steps:
    """What of a job of many parts is to be done: only to count them, one part, the end, or everything."""

    count: bool
    part: int | slice | None
    finish: bool

    def take(self, plan: InParts[Report], engine: Engine) -> Report | None:
        """Do it, and return the report where that finished the output."""
        if self.count:
            click.echo(plan.n_parts)
            longest = longest_array() if plan.n_parts > 1 else None
            if longest is not None and plan.n_parts > longest:
                log.warning(
                    "Slurm here allows no array of %d tasks: the highest number of a task is %d (MaxArraySize). Submit "
                    "several arrays, each with FIRST_PART, the number of its first part (slurm/README.md)",
                    plan.n_parts,
                    longest - 1,
                )
            return None
        if self.part is not None:
            click.echo(f"{plan.job.output}: {self._make(plan, engine)}")
            return None
        return plan.finish(engine) if self.finish else plan.make_all(engine)

    def _make(self, plan: InParts[Report], engine: Engine) -> str:
        """Make the parts of this process, and say which."""
        wanted = range(plan.n_parts)[self.part] if isinstance(self.part, slice) else [self.part or 0]
        if not wanted:
            return f"none of the {plan.n_parts} parts is left for this host"
        made = plan.make(wanted, engine)
        done = ("is made", "exists already") if len(wanted) == 1 else ("are made", "exist already")
        return f"{plan.named(wanted)} {done[not made]}"


def in_parts(function: Decorated) -> Decorated:
    """--parts, --part and --finish, of which one may be given: handed over as `steps`."""

    @wraps(function)
    def with_steps(*args: Any, parts: bool, part: int | slice | None, finish: bool, **others: Any) -> Any:
        if parts + (part is not None) + finish > 1:
            raise click.UsageError("give one of --parts, --part and --finish")
        return function(*args, steps=Steps(parts, part, finish), **others)

    decorated: Any = with_steps
    for option in (
        in_section(ENGINE, "--finish", is_flag=True, help="Finish OUTPUT when all parts are made."),
        in_section(
            ENGINE,
            "--part",
            type=Part(),
            metavar="I|array",
            help="Make only part I, counted from 0; array: the one with the number of this task in a job array; on "
            "SageMaker, those of this host.",
        ),
        in_section(
            ENGINE, "--parts", is_flag=True, help="Print how many parts the work has, and do nothing else."
        ),
    ):
        decorated = option(decorated)
    result: Decorated = decorated
    return result


def make_engine(name: str | None, workers: int | None) -> Engine:
    """The engine of that name; None: what the launcher of this process suggests."""
    process = announced()
    context = click.get_current_context(silent=True)
    master = context.meta.get(_MASTER) if context else None
    if name is None and process is None:
        name = "spark" if master or submitted_to_spark() else "local"
    name = name or "mpi"
    if master and name != "spark":
        raise click.UsageError(f"--master is for --engine spark, not {name}")
    engine: Engine
    if name == "mpi":
        engine = import_module("predictd.engine.mpi").MpiEngine(workers)
        return engine
    if process is not None:
        log.warning(
            "--engine %s: only one of the %d processes that were started does the work", name, process.size
        )
    if name == "spark":
        engine = import_module("predictd.engine.spark").SparkEngine(workers, master=master)
    else:
        engine = LocalEngine(workers)
    return engine
