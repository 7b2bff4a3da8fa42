"""Jobs: begun once, resumed by the same description, refused to another, finished without a trace."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from disks import unwritable
from folders import names
from predictd.errors import OutputError
from predictd.io import partition
from predictd.io.files import write_json
from predictd.io.partition import Job, first_difference, read_job
from predictd.provenance import package_version
from refusals import refused

DESCRIPTION = {
    "command": "x",
    "tracks": [["C:A", 5], ["C:B", 6]],
    "options": {"bin_size": 25, "regions": None},
}
# How often a start may find the place taken by what it may remove: no more often than there are files.
MOST_CLEARED = 100


@pytest.fixture(autouse=True)
def endless_starts_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    cleared: Counter[Job] = Counter()

    def counted(self: Job, given_up: Any, clear: Callable[..., None] = Job._clear) -> None:
        cleared[self] += 1
        assert cleared[self] <= MOST_CLEARED, "a start goes on where another job has been begun"
        clear(self, given_up)

    monkeypatch.setattr(Job, "_clear", counted)


def in_making() -> dict[str, Any]:
    """What an unfinished job keeps of itself; the version is known only where predictd is installed."""
    return DESCRIPTION | {"predictd": package_version("predictd")}


def test_a_job_from_begin_to_finish(tmp_path):
    output = tmp_path / "new" / "out"
    job = Job(output, DESCRIPTION)
    assert (read_job(output), job.begun) == (None, False)
    job.begin()
    assert (read_job(output), job.begun, job.resumed) == (in_making(), True, False)
    assert job.scratch.parent == output
    (job.scratch / "piece").write_text("")
    (output / "part").write_text("")
    job.finish()
    assert (read_job(output), job.begun) == (None, False)
    assert names(output) == ["part"]
    job.finish()


def test_the_same_description_goes_on(tmp_path):
    Job(tmp_path, DESCRIPTION).begin()
    (tmp_path / "part").write_text("kept")
    scratch = Job(tmp_path, DESCRIPTION).scratch
    (scratch / "piece").write_text("kept")
    # Tuples and lists are the same in JSON.
    job = Job(tmp_path, {**DESCRIPTION, "tracks": (("C:A", 5), ("C:B", 6))})
    job.begin()
    assert job.resumed
    assert (tmp_path / "part").read_text() == (scratch / "piece").read_text() == "kept"


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"command": "y"}, "(command: x, now y)"),
        ({"options": {"bin_size": 50, "regions": None}}, "(options.bin_size: 25, now 50)"),
        ({"tracks": [["C:A", 5], ["C:B", 7]]}, "(tracks[1][1]: 6, now 7)"),
        ({"tracks": [["C:A", 5]]}, "(tracks: 2 entries, now 1)"),
        ({"new": True}, "(new: None, now True)"),
    ],
)
def test_another_description_is_refused_with_the_difference(tmp_path, changed, difference):
    Job(tmp_path, DESCRIPTION).begin()
    job = Job(tmp_path, DESCRIPTION | changed)
    with refused(
        OutputError,
        str(tmp_path),
        "begun differently",
        difference,
        "the command that began it",
        "remove the directory",
    ):
        job.begin()
    assert (read_job(tmp_path), job.begun) == (in_making(), False)


def test_another_description_may_take_over_where_nothing_was_made(tmp_path):
    first = Job(tmp_path, DESCRIPTION)
    first.begin()
    (first.scratch / "piece").write_text("of the first")
    job = Job(tmp_path, DESCRIPTION | {"command": "y"})
    job.begin(nothing_made=True)
    assert (job.resumed, job.begun) == (False, True)
    assert names(job.scratch) == ["job.json"]
    (job.scratch / "piece").write_text("of the second")
    job.begin(nothing_made=True)
    assert job.resumed
    assert names(job.scratch) == ["job.json", "piece"]


def test_another_version_does_not_go_on_with_a_job_but_knows_the_finished_output(tmp_path, monkeypatch):
    job = Job(tmp_path, DESCRIPTION)
    job.begin()
    job.keep_part(0, {}, [])
    with monkeypatch.context() as patch:
        patch.setattr(partition, "package_version", lambda name: f"99 of {name}")
        newer = Job(tmp_path, DESCRIPTION)
    own = package_version("predictd")
    with refused(OutputError, f"begun differently (predictd: {own}, now 99 of predictd)"):
        newer.begin()
    # Nothing of the other version is taken for its own, also where `.partial` stays, as in an object store.
    assert (newer.begun, newer.part(0)) == (False, None) and newer.workspace != job.workspace
    write_json(tmp_path / "run.json", {"job": job.checksum})
    job.finish()
    assert newer.finished


def test_long_differences_are_cut():
    text = first_difference({"regions": None}, {"regions": [[f"chr{i}", i, i + 1] for i in range(10_000)]})
    assert text.startswith("regions: None, now [['chr0', 0, 1], ")
    assert len(text) < 110


def test_what_lies_there_without_a_job_is_not_taken_up(tmp_path):
    job = Job(tmp_path, DESCRIPTION)
    job.scratch.mkdir()
    (job.scratch / "piece").write_text("of nobody knows what")
    job.begin()
    assert names(job.scratch) == ["job.json"]


@pytest.mark.parametrize("content", ["{", "", "\xff"])
def test_a_damaged_job(tmp_path, content):
    job = Job(tmp_path, DESCRIPTION)
    job.begin()
    (job.scratch / "job.json").write_bytes(content.encode("latin1"))
    with refused(OutputError, "job.json is damaged", f"remove {tmp_path}", "run the command again"):
        Job(tmp_path, DESCRIPTION).begin()


def test_a_foreign_job_is_another_one(tmp_path):
    job = Job(tmp_path, DESCRIPTION)
    job.begin()
    (job.scratch / "job.json").write_text("[1]")
    with refused(OutputError, "begun differently (command: None, now x)"):
        Job(tmp_path, DESCRIPTION).begin()


def test_a_job_that_cannot_be_read(tmp_path):
    job = Job(tmp_path, DESCRIPTION)
    (job.scratch / "job.json").mkdir(parents=True)
    with refused(OutputError, f"cannot read {job.scratch / 'job.json'}", "Is a directory"):
        Job(tmp_path, DESCRIPTION).begin()


def test_unwritable_places(tmp_path):
    for place in unwritable(tmp_path):
        with refused(OutputError, f"cannot write {place}", "name a place you may write to"):
            Job(place, DESCRIPTION).begin()


def test_a_killed_begin_is_begun_again(tmp_path, monkeypatch):
    def killed(path, value, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(partition, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            Job(tmp_path, DESCRIPTION).begin()
    job = Job(tmp_path, DESCRIPTION)
    job.begin()
    assert (job.resumed, job.begun) == (False, True)


# Many processes at once


@pytest.mark.parametrize("before", ["nothing", "rests of no job", "a job that is given up"])
def test_of_many_that_begin_at_once_one_starts_and_nothing_of_any_is_lost(before, tmp_path):
    n = 8

    def begin(output: Path, number: int, together: threading.Barrier) -> bool:
        job = Job(output, DESCRIPTION)
        together.wait()
        job.begin(nothing_made=before.endswith("given up"))
        assert job.begun
        (job.scratch / f"piece-{number}").touch()
        return job.resumed

    with ThreadPoolExecutor(n) as pool:
        for turn in range(30):
            output = tmp_path / str(turn)
            left = Job(output, DESCRIPTION | {"command": "y"})
            if before.startswith("rests"):
                left.scratch.mkdir(parents=True)
            elif before.endswith("given up"):
                left.begin()
            if left.scratch.exists():
                (left.scratch / "folder").mkdir()
                (left.scratch / "folder" / "piece").touch()
                (left.scratch / "piece-0").touch()
            together = threading.Barrier(n)
            resumed = list(pool.map(lambda i: begin(output, i, together), range(n)))  # noqa: B023
            assert sorted(resumed) == [False] + [True] * (n - 1)
            assert names(output) == [".partial"]
            assert names(left.scratch) == ["job.json", *(f"piece-{i}" for i in range(n))]


def test_of_two_jobs_that_begin_at_once_one_is_refused(tmp_path):
    jobs = [Job(tmp_path, DESCRIPTION | {"command": name}) for name in "xy"]

    def begin(job: Job) -> bool:
        try:
            job.begin(nothing_made=True)
        except OutputError:
            return False
        return True

    together = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        began = list(pool.map(lambda job: (together.wait(), begin(job))[1], jobs))
    assert any(began)
    # Who came when the other one had begun, with nothing made yet, may have given that up.
    assert sum(job.begun for job in jobs) == 1
    assert names(tmp_path) == [".partial"]


def test_a_job_is_not_begun_where_another_has_been_meanwhile(tmp_path, monkeypatch):
    """Between the look at what is there, and the start."""
    first, second = Job(tmp_path, DESCRIPTION), Job(tmp_path, DESCRIPTION | {"command": "y"})

    def after_the_first(path: Path, new_folder: Callable[[Path], Path] = partition.new_folder) -> Path:
        monkeypatch.setattr(partition, "new_folder", new_folder)
        first.begin()
        return new_folder(path)

    monkeypatch.setattr(partition, "new_folder", after_the_first)
    with refused(OutputError, "begun differently (command: x, now y)"):
        second.begin()
    assert (first.begun, second.begun) == (True, False)
    assert names(tmp_path) == [".partial"]


# Parts


def test_parts_stand_with_their_files(tmp_path):
    job = Job(tmp_path, DESCRIPTION)
    job.begin()
    for index in (3, 0):
        (tmp_path / f"file-{index}").touch()
        job.keep_part(index, {"number": index}, [tmp_path / f"file-{index}"])
    assert [job.part(i) is not None for i in range(4)] == [True, False, False, True]
    assert job.part(3) == {"number": 3, "files": ["file-3"]}
    # To another job they are nothing.
    assert Job(tmp_path, DESCRIPTION | {"new": 1}).part(3) is None
    (tmp_path / "file-3").unlink()
    assert job.part(3) is None


def test_files_count_only_for_the_job_that_put_them_in_place(tmp_path):
    first, second = Job(tmp_path, DESCRIPTION), Job(tmp_path, DESCRIPTION | {"command": "y"})
    file = tmp_path / "folder" / "file"
    first.begin()
    file.parent.mkdir()
    assert not first.made(file)
    with first.making(file):
        file.write_text("of the first")
    assert first.made(file) and Job(tmp_path, DESCRIPTION).made(file)
    # Given up just before it had put the file in place.
    second.begin(nothing_made=True)
    assert not second.made(file)
    for wants in (
        first.made,
        lambda path: first.making(path).__enter__(),
        lambda _: first.keep_part(0, {}, []),
    ):
        with refused(OutputError, "begun differently (command: y, now x)"):
            wants(file)
    with second.making(file):
        file.write_text("of the second")
    assert second.made(file)
    file.unlink()
    assert not second.made(file)


def test_a_file_that_could_not_be_written_is_not_made(tmp_path):
    job = Job(tmp_path, DESCRIPTION)
    job.begin()
    (tmp_path / "file").touch()
    with pytest.raises(KeyboardInterrupt), job.making(tmp_path / "file"):
        raise KeyboardInterrupt
    assert not job.made(tmp_path / "file")


def test_a_job_puts_nothing_into_an_output_that_another_has_finished(tmp_path):
    first, second = Job(tmp_path, DESCRIPTION), Job(tmp_path, DESCRIPTION | {"command": "y"})
    first.begin()
    second.begin(nothing_made=True)
    second.finish()
    with (
        refused(OutputError, f"{tmp_path} was finished or removed meanwhile", "run this one again"),
        first.making(tmp_path / "file"),
    ):
        (tmp_path / "file").touch()
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", ["", '{"job"', "[]", "{}", '{"job": "other", "content": {}}', "\xff"])
def test_a_damaged_part_is_none(tmp_path, content):
    job = Job(tmp_path, DESCRIPTION)
    job.begin()
    job.keep_part(0, {}, [])
    (path,) = (job.workspace / "parts").iterdir()
    path.write_bytes(content.encode("latin1"))
    assert job.part(0) is None


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ([0, 2, 4, 5, 6, 7], "parts 1,3 of 8 are missing in {}; make them first (`part` 1 and so on), then"),
        ([3], "parts 0-2,4-7 of 8 are missing"),
        ([], "parts 0-7 of 8 are missing"),
        (
            [0, 1, 2, 3, 4, 5, 6],
            "part 7 of 8 is missing in {}; make it first (`part` 7), then `finish` again",
        ),
    ],
)
def test_missing_parts_are_named(tmp_path, made, told):
    job = Job(tmp_path, DESCRIPTION)
    job.begin()
    for index in made:
        job.keep_part(index, {}, [])
    with refused(OutputError, told.format(tmp_path)):
        job.whole_parts(8)
    for index in range(8):
        job.keep_part(index, {"number": index}, [])
    assert [part["number"] for part in job.whole_parts(8)] == list(range(8))
