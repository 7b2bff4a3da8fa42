"""Jobs: begun once, resumed by the same description, refused to another, finished without a trace."""

from __future__ import annotations

import pytest

from predictd.errors import OutputError
from predictd.io import partition
from predictd.io.partition import Job, first_difference, read_job
from tests.test_files import names, refused, unwritable

DESCRIPTION = {
    "command": "x",
    "tracks": [["C:A", 5], ["C:B", 6]],
    "options": {"bin_size": 25, "regions": None},
}


def test_a_job_from_begin_to_finish(tmp_path):
    output = tmp_path / "new" / "out"
    job = Job(output, DESCRIPTION)
    assert (read_job(output), job.begun) == (None, False)
    job.begin()
    assert (read_job(output), job.begun, job.resumed) == (DESCRIPTION, True, False)
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
        OutputError, str(tmp_path), "begun otherwise", difference, "its own command", "remove the directory"
    ):
        job.begin()
    assert (read_job(tmp_path), job.begun) == (DESCRIPTION, False)


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
    with refused(OutputError, "begun otherwise (command: None, now x)"):
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
    def killed(path, value):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(partition, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            Job(tmp_path, DESCRIPTION).begin()
    job = Job(tmp_path, DESCRIPTION)
    job.begin()
    assert (job.resumed, job.begun) == (False, True)
