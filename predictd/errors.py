"""Every error that predictd raises on purpose.

Each message is one line that says what is wrong, where, and what to do about it; the command line
prints it as it is and exits with `exit_code`.
"""

from __future__ import annotations


class PredictdError(Exception):
    """Base of all errors that are reported to the user in one line."""

    exit_code = 1


class ExtensionError(PredictdError):
    """The compiled kernels are missing or do not load."""


class ConfigError(PredictdError):
    """A setting, or a combination of settings, that makes no sense."""


class EngineError(PredictdError):
    """An engine that cannot start here: a library is missing, or its processes do not find each other."""


class InputError(PredictdError):
    """A file that cannot be read for what has nothing to do with its content: rights, locks, the disk, the server."""


class TrackError(PredictdError):
    """A signal track that cannot be read or holds what it may not hold."""


class TableError(PredictdError):
    """A table, BED or chromosome-sizes file that is not what it should be."""


class TensorFormatError(PredictdError):
    """A tensor, or a part of one, that is missing, unfinished, damaged or foreign."""


class ModelFormatError(PredictdError):
    """A model file that is missing, damaged or foreign."""


class NetworkFormatError(PredictdError):
    """A network file that is missing, damaged or foreign."""


class DataError(PredictdError):
    """Data that do not allow what was asked, e.g. a cell type without training experiments."""


class OutputError(PredictdError):
    """A place that cannot be written to, or that already holds something else."""


class AlreadyFinished(OutputError):
    """An output that this very command has made before: there is nothing to do."""

    exit_code = 0


class RemoteError(PredictdError):
    """An object store that cannot be reached, denies access or fails, or a bucket that is not there."""


class WorkerError(PredictdError):
    """A task failed or its worker died; names the key and the cause."""


class Interrupted(PredictdError):
    """Stopped by a signal after saving what was done; the same command goes on from there."""

    exit_code = 75
