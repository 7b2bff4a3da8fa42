"""Paths in object stores, as far as no store is needed."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from commands import run_predictd
from predictd.errors import ConfigError
from predictd.io.remote import as_path


def test_credentials_in_a_path_are_refused_and_not_repeated():
    for url in ("s3://key:very-secret@bucket/x", "abfs://c/x?sig=very-secret"):
        with pytest.raises(ConfigError, match="credentials do not belong there") as caught:
            as_path(url)
        assert "very-secret" not in str(caught.value)


def test_paths():
    for client in ("adlfs", "s3fs"):
        pytest.importorskip(client)
    path = as_path("abfs://c@account.dfs.core.windows.net/a/b.h5")
    assert str(path) == "abfs://c@account.dfs.core.windows.net/a/b.h5"
    assert str(path.with_name("x") / "y") == "abfs://c@account.dfs.core.windows.net/a/x/y"
    assert str((path / "../z").resolve()) == "abfs://c@account.dfs.core.windows.net/a/z"
    assert pickle.loads(pickle.dumps(path)) == path and path.is_absolute()
    assert type(as_path("s3:/local")) is type(Path("s3"))
    with pytest.raises(ConfigError, match="names no bucket"):
        as_path("s3://")
    with pytest.raises(TypeError, match="no file system"):
        path.rename("elsewhere")


def test_without_the_extra_one_line_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError, match=r"s3fs, which are not installed: pip install 'predictd\[cloud\]'"):
        as_path("s3://bucket/x")


def test_local_paths_load_no_client(tensor_path, tmp_path):
    code = (
        "import sys; from predictd.cli import cli\n"
        f"cli(['info', {str(tensor_path)!r}, '--quiet'], standalone_mode=False)\n"
        "print(sorted({'fsspec', 's3fs', 'adlfs', 'botocore'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_scratch_has_to_be_local(tmp_path):
    done = run_predictd("train", "t", "-o", "m.h5", "--scratch", "s3://bucket/x", cwd=tmp_path)
    assert done.returncode == 2 and "has to be a path on this machine" in done.stderr
