"""What long work has come to: bars on terminals and in notebooks, elsewhere a line in the log now and then."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from commands import call_predictd
from engine_tasks import half_done, wait_until
from figures import draw_nothing
from made_folds import FEW_SWEEPS_TOML, few_folds
from made_networks import write_network_case
from predictd import progress
from predictd.io.tensor.store import Tensor


@pytest.fixture(autouse=True)
def usual_pace(monkeypatch):
    monkeypatch.setattr(progress, "_pace", progress.Pace())


def shown(capsys):
    with progress.progress_bar("shards", 3) as bar:
        bar.update(3)
    return capsys.readouterr().err


class ZMQInteractiveShell:
    """As the shell of a notebook's kernel is called."""


@pytest.fixture
def notebook(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=ZMQInteractiveShell))
    monkeypatch.setattr(progress, "find_spec", lambda name: None)


@pytest.fixture
def quiet() -> Iterator[None]:
    progress.set_quiet(True)
    yield
    progress.set_quiet(False)


# -- bars -------------------------------------------------------------------------------------------------------------


def test_no_bar_in_a_log(capsys):
    assert shown(capsys) == ""


def test_a_bar_in_a_notebook(capsys, notebook):
    assert "shards" in shown(capsys) and progress._in_notebook()


def test_no_bar_in_a_shell_of_ipython(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: object()))
    assert shown(capsys) == ""


def test_no_bar_where_it_is_to_be_quiet(capsys, notebook, quiet):
    assert shown(capsys) == ""
    progress.set_quiet(False)
    with progress.within_task():
        assert shown(capsys) == ""


# -- lines ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> SimpleNamespace:
    """A clock that is set by hand; lines are in `caplog`."""
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(progress, "_lines", progress._Lines())
    caplog.set_level(logging.INFO, logger=progress.log.name)
    return clock


def test_lines_say_stage_share_and_time_left(clock, caplog):
    with progress.stage("choose"), progress.stage("test fold 0"):
        with progress.progress_bar("networks", 16, initial=4) as bar:
            clock.now += 9
            bar.update()
            assert not caplog.messages
            clock.now += 1
            bar.update(3)
            # Six minutes, 70 s a line.
            for _ in range(8):
                clock.now += 70
                bar.update()
        progress.tell("rank %d", 5)
    said = "choose, test fold 0: networks"
    assert caplog.messages == [
        f"{said} 8/16 (50 %), 10 s so far, about 20 s left",
        f"{said} 9/16 (56 %), 80 s so far, about 1.9 min left",
        f"{said} 10/16 (62 %), 2.5 min so far, about 2.5 min left",
        f"{said} 11/16 (69 %), 3.7 min so far, about 2.6 min left",
        f"{said} 12/16 (75 %), 4.8 min so far, about 2.4 min left",
        f"{said} 13/16 (81 %), 6.0 min so far, about 2.0 min left",
        f"{said} 14/16 (88 %), 7.2 min so far, about 86 s left",
        f"{said} 15/16 (94 %), 8.3 min so far, about 45 s left",
        f"{said} 16/16 (100 %), 9.5 min so far",
        "choose, test fold 0: rank 5",
    ]


def test_lines_come_more_seldom_later(clock, caplog):
    times = []
    with progress.progress_bar("sgd", unit=" evaluations") as bar:
        for _ in range(500):
            clock.now += 1
            before = len(caplog.messages)
            bar.note(f"validation MSE {clock.now}")
            bar.update()
            times += [clock.now - 1000] * (len(caplog.messages) - before)
    assert times == [10, *range(40, 311, 30), 370, 430, 490]
    assert caplog.messages[1] == "40 evaluations, validation MSE 1040.0, 40 s so far"


def test_short_stages_one_after_the_other_are_not_silent(clock, caplog):
    for index in range(12):
        with progress.stage(f"stage {index}"):
            clock.now += 9
            with progress.progress_bar("shards", 3):
                pass
    assert 3 <= len(caplog.messages) <= 12


def test_work_that_does_not_move_is_told_of(monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger=progress.log.name)
    monkeypatch.setattr(progress, "_pace", progress.Pace(0.01, 0.01, 0.01))
    with progress.stage("train"):
        wait_until(lambda: len(caplog.messages) >= 3, "three lines")
    assert all(re.fullmatch(r"train: [\d.]+ s so far", line) for line in caplog.messages)


def test_shares_of_tasks_that_have_begun_count(engine, monkeypatch, caplog, tmp_path):
    caplog.set_level(logging.INFO, logger=progress.log.name)
    monkeypatch.setattr(progress, "_pace", progress.Pace(0.01, 0.01, 0.01))
    line = r"score: groups 0/4 \(25 %\), [\d.]+ s so far, about [\d.]+ s left"

    def allow() -> None:
        wait_until(
            lambda: any(re.fullmatch(line, said) for said in caplog.messages), "two halves of four tasks"
        )
        (tmp_path / "go").touch()

    thread = threading.Thread(target=allow)
    thread.start()
    with progress.stage("score"):
        assert engine.map(half_done, [0, 1, 2, 3], tmp_path, label="groups") == [0, 1, 2, 3]
    thread.join()
    assert (tmp_path / "go").exists()


def test_no_line_where_nobody_would_read_it(clock, caplog, monkeypatch, quiet):
    def work() -> list[str]:
        with progress.stage("train"), progress.progress_bar("models", 2) as bar:
            clock.now += 100
            bar.update()
            watched.append(bar.watched)
        return caplog.messages

    watched: list[bool] = []
    assert not work()
    progress.set_quiet(False)
    with progress.within_task():
        assert not work()
    with monkeypatch.context() as context:
        context.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        assert not work()
    caplog.set_level(logging.WARNING, logger=progress.log.name)
    assert not work() and watched == [False, False, True, False]
    caplog.set_level(logging.INFO, logger=progress.log.name)
    assert work() and watched[-1]


# -- commands ---------------------------------------------------------------------------------------------------------

# What each writes its run record to, and what it counts.
COMMANDS = {
    "simulate d --cells 6 --assays 4 --share 0.75 --bins 2000 --rank 3": ("d/run.json", {"tracks", "truth"}),
    "ingest d/tracks.tsv T --genome d/genome.chrom.sizes": ("T/run.json", {"tracks", "shards"}),
    "info T --verify": (None, {"shards"}),
    "train T -o m.h5 --rank 2 --config few.toml": ("m.h5.run.json", {"moments", "choosing"}),
    "train T -o s.h5 --solver sgd --rank 2 --config few.toml": ("s.h5.run.json", {"evaluations", "rounds"}),
    "extend m.h5 T new.tsv -o n.h5": ("n.h5.run.json", {"shards"}),
    "tune T -o best.toml --trials 2 --config few.toml": ("best.toml.run.json", {"trials"}),
    "cv T -o cv --folds folds.json --config few.toml": (
        "cv/run.json",
        {"choosing", "members", "networks", "models", "groups of experiments"},
    ),
    "impute cv T -o imputed --pairs all --sd": ("imputed/run.json", {"groups of tracks"}),
    "evaluate imputed d/tracks.tsv -o m.tsv": ("m.tsv.run.json", {"tracks", "groups of pairs"}),
    "report cv -o report.html": ("report.html.run.json", set()),
    "qc T -o qc.tsv": ("qc.tsv.run.json", {"shards"}),
    "recommend T -o next.tsv": ("next.tsv.run.json", set()),
    "factors m.h5 T -o factors": ("factors/run.json", {"shards"}),
    "export T out.tsv": ("out.tsv.run.json", {"shards"}),
    "peaks imputed -o peaks --threshold 0.5": ("peaks/run.json", {"tracks"}),
    "binarise imputed -o binary": ("binary/run.json", {"cell types"}),
    "hub imputed -o hub --email a@b.org": ("hub/run.json", set()),
    "network infer expression.tsv -o net --trees 5": ("net/run.json", {"blocks"}),
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[str], list[str]]]:
    """Of each command, its lines of progress when it writes one whenever it can, and its stages."""
    place, said = tmp_path_factory.mktemp("place"), {}
    quick = "[train]\nnetworks = 1\n[train.sgd]\nmin_bins = 500\nmax_rounds = 4\n"
    (place / "few.toml").write_text(quick + FEW_SWEEPS_TOML)
    write_network_case(place)
    for command, (record, _) in COMMANDS.items():
        with pytest.MonkeyPatch.context() as context:
            context.setenv(progress.PACE_VARIABLE, "0")
            draw_nothing(context)
            done = call_predictd(*command.split(), cwd=place)
        assert done.returncode == 0, done.stderr
        stages = [] if record is None else json.loads((place / record).read_text())["stages"]
        said[command] = (lines_of(done.stderr), [stage["name"] for stage in stages])
        if command.startswith("ingest"):
            few_folds(Tensor(place / "T"), place / "folds.json", tests=2)
            rows = (place / "d" / "tracks.tsv").read_text().splitlines()[1:3]
            new = [f"N1\t{assay}\td/{path}" for _, assay, path in (row.split("\t")[:3] for row in rows)]
            (place / "new.tsv").write_text("\n".join(["cell_type\tassay\tpath", *new]))
    return said


def lines_of(err: str) -> list[str]:
    """The lines of progress in what a command wrote to standard error."""
    return re.findall(r"^predictd: info: (.*)$", err, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_stage_is_told_of(command, said):
    lines, stages = said[command]
    within = {part for line in lines for part in line.partition(": ")[0].split(", ")}
    assert set(stages) <= within
    for counted in COMMANDS[command][1]:
        last = [line for line in lines if re.search(rf"\b{counted}( \d+/\d+ \(|,)", line)][-1]
        assert f"{counted} " not in last or "(100 %)" in last, last


def test_choices_are_told_of_when_they_are_made(said):
    lines, _ = said["cv T -o cv --folds folds.json --config few.toml"]
    made = [line for line in lines if "held-out experiments" in line]
    assert [line.partition(": assay_mean ")[0] for line in made] == [
        f"choose, {name}" for name in ("test fold 0", "test fold 1", "all experiments")
    ]
    assert lines.index(made[-1]) < min(i for i, line in enumerate(lines) if line.startswith("train"))


def test_parts_are_named(said, tensor_path, tmp_path, monkeypatch):
    few_folds(Tensor(tensor_path), tmp_path / "folds.json")
    monkeypatch.setenv(progress.PACE_VARIABLE, "0")
    run = ("cv", tensor_path, "-o", "cv", "--rank", 2, "--lambda", 0.1, "--folds", "folds.json")
    done = call_predictd(*run, "--part", 1, "--verbose", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines and all(
        re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d predictd: info: part 1 of 3[:,] ", line) for line in lines
    )


@pytest.mark.parametrize("seconds", ["often", "-1", "nan", ""])
def test_a_pace_that_is_none(seconds, tmp_path, monkeypatch):
    monkeypatch.setenv(progress.PACE_VARIABLE, seconds)
    done = call_predictd("config", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        f"predictd: error: PREDICTD_LOG_SECONDS={seconds}: give the seconds between two lines, such as 300\n",
    )
