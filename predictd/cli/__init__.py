"""The command line: one file a command, imported when it is called.

Exit codes: 0 done; 1 a predictd error, reported in one line; 2 wrong usage; 75 stopped by a signal after saving, run
again to resume; 130 stopped at once by a second Ctrl-C, run again to resume from what was saved before.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

import click

from predictd import interrupt, progress
from predictd.cli.groups import LazyGroup
from predictd.cli.messages import Formatter
from predictd.errors import PredictdError
from predictd.io.names import argument_without_secrets
from predictd.launcher import Announced, announced, report_failure
from predictd.provenance import command_line

# One line of help a command, so that listing them imports none; in the order in which they are used.
SECTIONS = {
    "From measured to imputed tracks": {
        "ingest": "Turn signal tracks, or a matrix of signal, into a tensor.",
        "cv": "Cross-validate: train every fold, score every experiment.",
        "train": "Fit a model to a tensor.",
        "impute": "Write imputed tracks as bigWigs.",
        "extend": "Give a model new cell types from a few of their tracks.",
    },
    "Check and look at tracks": {
        "info": "Show what a tensor holds.",
        "qc": "Check tracks: which look swapped, dead or wrongly scaled.",
        "evaluate": "Score imputed tracks against observed ones.",
        "report": "Show how far imputed tracks can be trusted, on one page.",
        "view": "Look at tracks in a genome browser on this machine.",
        "export": "Write signal for other tools: Zarr, AnnData, Parquet, text.",
        "hub": "Write a UCSC track hub of imputed and observed tracks.",
    },
    "Learn from tracks": {
        "peaks": "Call peaks in imputed or observed tracks.",
        "binarise": "Write presence and absence of marks for ChromHMM.",
        "factors": "Show what a model's factors mean, and where each is strong.",
        "recommend": "Recommend the next experiments to run.",
        "network": "Infer gene regulatory networks; score, measure and show them.",
    },
    "Try it, plan it, scale it": {
        "demo": "Run the whole job on a small simulated genome.",
        "simulate": "Make a seeded, realistic data set of any shape.",
        "plan": "Estimate time, memory, storage and price before you begin.",
        "tune": "Search solver, rank and penalty on validation experiments.",
        "config": "Print all settings with their defaults, as a file for --config.",
        "folds": "Divide a tensor's experiments for cross-validation.",
        "doctor": "Show versions, extras and what engines could run here.",
    },
}
COMMANDS = {name: line for lines in SECTIONS.values() for name, line in lines.items()}


@click.command(
    cls=LazyGroup,
    package="predictd.cli",
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="predictd", prog_name="predictd")
def cli() -> None:
    """Impute the epigenomics experiments that nobody has run, from those that exist."""


def import_common() -> None:
    """Import what most tasks need, while rank 0 imports its command."""
    # What cannot be imported is reported by rank 0, or by the task that needs it.
    with suppress(Exception):
        import_module("predictd.workflows.training.crossval")


def join_mpi(process: Announced) -> None:
    """Under an MPI launcher: rank 0 goes on with the command, the others work for it and end here."""
    try:
        mpi = import_module("predictd.engine.mpi")
        mpi.join(process, import_common)
    except PredictdError:
        # Every process finds the same; one says so.
        if process.rank:
            sys.exit(1)
        raise


def acknowledge(text: str) -> None:
    """Show a line at once, past the buffers of standard error, which a signal may have come in the midst of."""
    if not progress.is_quiet():
        # The cursor of a terminal is behind a bar.
        beginning = "\n" if os.isatty(2) else ""
        with suppress(OSError):
            os.write(2, f"{beginning}predictd: {text}\n".encode())


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the program: errors become one line and an exit code.

    Parameters
    ----------
    arguments
        Of the command line; None: those of this process.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    progress.log.setLevel(logging.INFO)
    logging.addLevelName(logging.WARNING, "warning")
    logging.addLevelName(logging.INFO, "info")
    try:
        process = announced()
        # Of several ranks the first speaks.
        tell = None if process is not None and process.rank else acknowledge
        with interrupt.catching(tell), command_line(["predictd", *map(argument_without_secrets, arguments)]):
            progress.set_pace(os.environ.get(progress.PACE_VARIABLE))
            if process is not None:
                join_mpi(process)
            cli(list(arguments), prog_name="predictd", standalone_mode=False)
    except click.ClickException as err:
        err.show()
        report_failure(err.format_message())
        sys.exit(err.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print("predictd: stopped", file=sys.stderr)
        sys.exit(interrupt.STOPPED_NOW)
    except PredictdError as err:
        _end(err)
    except Exception as err:
        error = None
        if isinstance(err, OSError) and err.filename:
            error = import_module("predictd.io.files").unreadable(err.filename, err)
        if error is None:
            report_failure(f"{type(err).__name__}: {err}")
            raise
        _end(error)


def _end(err: PredictdError) -> None:
    """Say what was wrong, and exit."""
    if logging.getLogger("predictd").isEnabledFor(logging.DEBUG):
        traceback.print_exc()
    print(f"predictd: {'error: ' if err.exit_code else ''}{err}", file=sys.stderr)
    if err.exit_code:
        report_failure(str(err))
    sys.exit(err.exit_code)
