"""The command line as its users meet it: real processes, exit codes, one-line errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from predictd.cli import COMMANDS
from tests.conftest import run_predictd


def error_line(done) -> str:
    """The only line on standard error, of a command that failed on purpose."""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("predictd: error: ")
    return lines[0]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str, tmp_path: Path) -> None:
    done = run_predictd(name, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: predictd {name}") or f" {name} " in done.stdout.splitlines()[0]


def test_commands_are_listed(tmp_path: Path) -> None:
    done = run_predictd("--help", cwd=tmp_path)
    assert all(name in done.stdout for name in COMMANDS)


def test_wrong_usage_exits_2(tmp_path: Path) -> None:
    assert run_predictd("train", cwd=tmp_path).returncode == 2
    assert run_predictd("nonsense", cwd=tmp_path).returncode == 2
    assert run_predictd("train", "T", "-o", "m.h5", "--rank", "some", cwd=tmp_path).returncode == 2


def test_an_error_is_one_line_and_exits_1(tmp_path: Path) -> None:
    done = run_predictd("info", "nowhere", cwd=tmp_path)
    assert done.returncode == 1
    assert "nowhere is no directory; make one with 'predictd ingest'" in error_line(done)


def test_debug_shows_where(tmp_path: Path) -> None:
    done = run_predictd("info", "nowhere", "--debug", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "TensorFormatError" in done.stderr


def test_unknown_setting_is_named(tmp_path: Path, tensor_path: Path) -> None:
    (tmp_path / "s.toml").write_text("[train]\nrnak = 3\n")
    done = run_predictd("train", tensor_path, "-o", "m.h5", "--config", "s.toml", cwd=tmp_path)
    assert done.returncode == 1
    line = error_line(done)
    assert "s.toml" in line
    assert "rnak" in line


def test_info_as_json_and_verify(tmp_path: Path, own_tensor: Path) -> None:
    done = run_predictd("info", own_tensor, "--json", "--verify", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    contents = json.loads(done.stdout)
    assert contents["bins"] == 20_000
    assert contents["complete_bins"] == 20_000
    assert len(contents["experiments"]) == 18

    shard = sorted((own_tensor / "shards").glob("*.h5"))[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    done = run_predictd("info", own_tensor, "--verify", cwd=tmp_path)
    assert done.returncode == 1
    assert shard.name in error_line(done)


def test_quiet_says_nothing_but_results(tmp_path: Path, tensor_path: Path) -> None:
    arguments = ("train", tensor_path, "-o", "m.h5", "--solver", "sgd")
    loud = run_predictd(*arguments, cwd=tmp_path)
    assert "warning: 15 training experiments carry no rank of 100" in loud.stderr
    (tmp_path / "m.h5").unlink()
    quiet = run_predictd(*arguments, "--quiet", cwd=tmp_path)
    assert quiet.returncode == 0
    assert quiet.stderr == ""
    assert "m.h5: rank 5" in quiet.stdout


def test_demo_beats_both_baselines(tmp_path: Path) -> None:
    done = run_predictd("demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {
        line.split()[0]: line.split()[1:]
        for line in done.stdout.splitlines()
        if line.startswith(("model", "assay"))
    }
    mse = {method: float(values[0]) for method, values in rows.items()}
    assert mse["model"] < 0.5 * mse["assay_mean_scaled"] < 0.5 * mse["assay_mean"]
    for step in ("simulate", "ingest", "folds", "train", "impute", "evaluate"):
        assert f"$ predictd {step} " in done.stdout
    assert (tmp_path / "predictd-demo" / "metrics.tsv").is_file()
    again = run_predictd("demo", cwd=tmp_path)
    assert again.returncode == 1
    assert "predictd-demo exists already" in error_line(again)


def test_doctor_tells_versions_and_locks(tmp_path: Path) -> None:
    done = run_predictd("doctor", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = {line[:12].strip(): line[13:] for line in done.stdout.splitlines()}
    assert told["predictd"].startswith("0.")
    assert "CPUs usable" in told["processor"]
    assert told["kernels"].startswith("compiled")
    assert "HDF5 locks at . work" in done.stdout or "locks are off" in done.stdout
