"""Paths in object stores, as far as no store is needed."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import predictd
from commands import run_predictd
from predictd.api.inputs import path_of
from predictd.cli.options import LOCAL, PATH
from predictd.errors import ConfigError, RemoteError
from predictd.io.clients import explained
from predictd.io.remote import as_path, is_remote
from predictd.io.tracks.genomes import load_genome


def test_credentials_in_a_path_are_refused_and_not_repeated():
    for url in ("s3://key:very-secret@bucket/x", "abfs://c/x?sig=very-secret"):
        with pytest.raises(ConfigError, match="put credentials into the environment") as caught:
            as_path(url)
        assert "very-secret" not in str(caught.value)


def test_paths():
    for client in ("adlfs", "gcsfs", "s3fs"):
        pytest.importorskip(client)
    path = as_path("abfs://c@account.dfs.core.windows.net/a/b.h5")
    assert str(path) == "abfs://c@account.dfs.core.windows.net/a/b.h5"
    assert str(path.with_name("x") / "y") == "abfs://c@account.dfs.core.windows.net/a/x/y"
    assert str((path / "../z").resolve()) == "abfs://c@account.dfs.core.windows.net/a/z"
    assert pickle.loads(pickle.dumps(path)) == path and path.is_absolute()
    with pytest.raises(ConfigError, match="names no bucket"):
        as_path("s3://")
    with pytest.raises(TypeError, match="not a file system"):
        path.rename("elsewhere")


def test_one_store_has_one_name():
    pytest.importorskip("s3fs"), pytest.importorskip("gcsfs")
    for scheme, own in (("s3a", "s3"), ("s3n", "s3"), ("S3", "s3"), ("gcs", "gs"), ("GS", "gs")):
        assert str(as_path(f"{scheme}://Bucket/Key")) == f"{own}://Bucket/Key"
        assert is_remote(f"{scheme}://Bucket/Key")


@pytest.mark.parametrize(
    "address",
    [
        *("hdfs://node:8020/x", "hdfs:///x", "hdfs:/x", "webhdfs://me:s3cret@node/x", "dbfs:/x", "dbfs://x"),
        *("ftp://me:s3cret@host/x", "sftp://host/x", "oss://b/x", "cos://b/x", "adl://a/x", "swift://c.p/x"),
        *("https://host/x?token=s3cret", "HTTP://host/x", "memory://x", "gdrive://x", "S3+http://b/x"),
    ],
)
def test_addresses_of_other_kinds_are_refused_wherever_a_path_is_taken(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scheme = address.partition(":/")[0].lower()
    told = f"^{re.escape(scheme)}:// addresses are .*, and give a path of this machine's file systems, or s3://, gs:// "
    calls = (
        lambda: as_path(address),
        lambda: path_of(address),
        lambda: path_of(Path(address)),
        lambda: PATH.convert(address, None, None),
        lambda: LOCAL.convert(address, None, None),
        lambda: load_genome(address),
        lambda: predictd.load_model(address),
        lambda: predictd.ingest(address, "tensor", genome="hg38"),
        lambda: predictd.ingest("tracks.tsv", address, genome="hg38"),
    )
    for call in calls:
        with pytest.raises(ConfigError, match=told) as caught:
            call()
        assert "s3cret" not in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_command_writes_nothing_into_a_directory_named_as_a_scheme(data, tmp_path):
    for arguments in (
        ["ingest", data / "tracks.tsv", "hdfs://node/tensor", "--genome", data / "genome.chrom.sizes"],
        ["ingest", data / "tracks.tsv", "gs:/bucket/tensor", "--genome", data / "genome.chrom.sizes"],
    ):
        done = run_predictd(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "gs:/ has one slash where an address has two: write gs://BUCKET/PATH" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_path_object_that_was_an_address():
    with pytest.raises(ConfigError, match=r"^s3:/ has one slash.* \(a pathlib.Path drops one\)"):
        path_of(Path("s3://bucket/x"))
    assert as_path("./s3:/x") == Path("s3:/x") and as_path("s3:x") == Path("s3:x")


def test_files_of_this_machine_as_addresses():
    for address in ("file:///data/a%20b.bw", "file://localhost/data/a%20b.bw", "file:/data/a%20b.bw"):
        assert as_path(address) == Path("/data/a b.bw")
    with pytest.raises(ConfigError, match="write file:///PATH"):
        as_path("file://data/a.bw")


def test_question_marks_in_keys_and_parameters_behind_them():
    pytest.importorskip("s3fs")
    assert str(as_path("s3://b/what?/a?.bw")) == "s3://b/what?/a?.bw"
    for text in ("s3://b/x?versionId=3", "s3://b/x?a&X-Amz-Signature=very-secret"):
        with pytest.raises(ConfigError, match="is only bucket and key"):
            as_path(text)


@pytest.mark.parametrize(
    ("url", "client", "extra"), [("s3://b/x", "s3fs", "cloud"), ("gs://b/x", "gcsfs", "gcs")]
)
def test_without_the_extra_one_line_names_it(url, client, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, client, None)
    with pytest.raises(
        ConfigError, match=rf"{client}, which are not installed: pip install 'predictd\[{extra}\]'"
    ):
        as_path(url)


def test_local_paths_load_no_client(tensor_path, tmp_path):
    code = (
        "import sys; from predictd.cli import cli\n"
        f"cli(['info', {str(tensor_path)!r}, '--quiet'], standalone_mode=False)\n"
        "print(sorted({'fsspec', 's3fs', 'adlfs', 'botocore', 'gcsfs'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_scratch_has_to_be_local(tmp_path):
    done = run_predictd("train", "t", "-o", "m.h5", "--scratch", "s3://bucket/x", cwd=tmp_path)
    assert done.returncode == 2 and "has to be a path on this machine" in done.stderr


def expired(code: str) -> Exception:
    exceptions = pytest.importorskip("botocore.exceptions")
    return exceptions.ClientError(
        {"Error": {"Code": code, "Message": "The provided token has expired."}}, "GetObject"
    )


def sso() -> Exception:
    exceptions = pytest.importorskip("botocore.exceptions")
    return exceptions.TokenRetrievalError(provider="sso", error_msg="Token has expired and refresh failed")


def http_401() -> Exception:
    retry = pytest.importorskip("gcsfs.retry")
    return retry.HttpError(
        {"code": 401, "message": "Anonymous caller does not have storage.objects.get access"}
    )


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (
            lambda: expired("ExpiredToken"),
            r"the credentials have expired \(ExpiredToken\); renew them and run",
        ),
        (lambda: expired("ExpiredTokenException"), r"the credentials have expired \(ExpiredTokenException\)"),
        (lambda: expired("RequestExpired"), r"the credentials have expired \(RequestExpired\)"),
        (sso, r"the credentials have expired \(TokenRetrievalError\); renew them and run"),
        (
            lambda: OSError("Forbidden: b/lab/o/x\nme does not have storage.objects.get access."),
            r"the store denies access \(me does not have storage\.objects\.get access\.\)",
        ),
        (http_401, r"the store denies access \(forbidden\)"),
    ],
)
def test_what_credentials_lack_is_told(failure, told):
    with (
        pytest.raises(RemoteError, match=rf"^cannot read gs://b/x: {told}[^\n]*$"),
        explained("read gs://b/x"),
    ):
        raise failure()
