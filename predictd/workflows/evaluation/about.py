"""What a report is of: what the run.json of the scored output, and of what it was made with, say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from predictd.config import READ_BY
from predictd.constants import MODELS
from predictd.errors import PredictdError
from predictd.io.models import read_model
from predictd.io.remote import as_path
from predictd.io.results import known_run
from predictd.io.tensor.store import Tensor

Json = Mapping[str, Any]


def described(
    directory: Path, metrics: Path, method: str, run: Json, tensor: Tensor | None
) -> list[tuple[str, str]]:
    """What is reported and how it was made, as rows of a name and a text.

    Parameters
    ----------
    directory, metrics, method
        The scored output, its metrics.tsv, and the method of it that is reported on.
    run
        The directory's run.json; empty for another tool's.
    tensor
        The tensor that it was made from; None where it is not there any more.
    """
    rows = [
        ("Reported", _what(directory, run)),
        ("Scores", f"method '{method}' of {metrics.resolve()}"),
        ("Data set", _data_set(run, tensor)),
        ("Transforms", "" if tensor is None else _transforms(tensor)),
    ]
    if not run:
        return [row for row in rows if row[1]]
    made_by, model = _training_run(directory, run)
    rows += [
        ("Solver", _solver(made_by, model)),
        ("Settings", _settings(made_by, model)),
        ("Command", _command(run)),
        ("Finished", str(run.get("finished", "not recorded"))),
        ("Scored by", "" if metrics.parent == directory else _command(known_run(metrics, sidecar=True))),
        ("Software", _software(run)),
        ("Run by", f"engine {run.get('engine')}, workers: {run.get('workers')}, ranks: {run.get('ranks')}"),
    ]
    if made_by is not run:
        rows.append(
            ("Model made by", _command(made_by) + f", finished: {made_by.get('finished', 'not recorded')}")
        )
    return [row for row in rows if row[1]]


def choices_of(directory: Path, run: Json) -> list[tuple[str, str]]:
    """Why the settings of each test fold were chosen, where a cross-validation says so."""
    made_by, _ = _training_run(directory, run)
    found = made_by.get("results", {}).get("choices", {})
    return (
        [(f"Test fold {test}", str(why)) for test, why in sorted(found.items())]
        if isinstance(found, dict)
        else []
    )


def _what(directory: Path, run: Json) -> str:
    kinds = {"cv": "cross-validation", "impute": "imputed tracks"}
    if not run:
        return f"tracks in {directory.resolve()}, which has no run.json of predictd"
    return f"{kinds.get(str(run.get('workflow')), 'output of predictd')} in {directory.resolve()}"


def _data_set(run: Json, tensor: Tensor | None) -> str:
    named = run.get("results", {}).get("tensor")
    if tensor is None:
        return f"{named}, which is not there any more" if named else ""
    manifest = tensor.manifest
    cells, assays = ({pair[axis] for pair in tensor.experiments} for axis in (0, 1))
    return (
        f"{tensor.path.resolve()}: {len(tensor.experiments)} observed experiments of {len(cells)} cell types and "
        f"{len(assays)} assays; {tensor.n_bins:,} {manifest.rows} of {manifest.genome.name}, "
        f"{tensor.n_complete / tensor.n_bins:.1%} of them complete; checksum {manifest.checksum[:12]}"
    )


def _transforms(tensor: Tensor) -> str:
    assays: dict[str, set[str]] = defaultdict(set)
    for entry in tensor.manifest.experiments:
        assays[entry.transform].add(entry.assay)
    if len(assays) == 1:
        return next(iter(assays))
    return "; ".join(f"{name}: {', '.join(sorted(own))}" for name, own in sorted(assays.items()))


def _training_run(directory: Path, run: Json) -> tuple[Json, dict[str, Any]]:
    """The run.json of the training behind an output, and what its (first) model file says; what is gone is empty."""
    path, made_by = directory, run
    if run.get("workflow") == "impute":
        tensor = run.get("results", {}).get("tensor")
        given = [as_path(name) for name in run.get("inputs", {})]
        path = next((model for model in given if str(model.resolve()) != tensor), directory)
        made_by = known_run(path, sidecar=not path.is_dir())
    with suppress(PredictdError, OSError):
        file = min((path / MODELS).glob("*.h5"), default=None) if path.is_dir() else path
        if file is not None:
            return made_by, read_model(file).info
    return made_by, {}


def _solver(run: Json, model: Json) -> str:
    asked, used = run.get("settings", {}).get("solver"), model.get("solver")
    if used and asked and used != asked:
        return f"{used} (asked for: {asked})"
    return str(used or asked or "")


def _settings(run: Json, model: Json) -> str:
    """The settings that were asked for, but for those of other solvers."""
    solver = str(model.get("solver", run.get("settings", {}).get("solver")))
    settings = {
        name: value
        for name, value in run.get("settings", {}).items()
        if name != "solver" and (solver in READ_BY.get(name, (solver,)))
    }
    if run.get("seed") is not None:
        settings["seed"] = run["seed"]
    return ", ".join(f"{name} {_value(value)}" for name, value in settings.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"({', '.join(f'{name} {_value(own)}' for name, own in value.items())})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _command(run: Json) -> str:
    if not run:
        return ""
    return str(run.get("command") or f"Python: {run.get('workflow')}")


def _software(run: Json) -> str:
    software = run.get("software", {})
    shown = ("predictd", "python", "numpy", "scipy", "scikit-learn")
    return ", ".join(f"{name} {software[name]}" for name in shown if software.get(name))
