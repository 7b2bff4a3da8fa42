"""Files that the system does not let us read: told as that, and not as damage."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from disks import FORBIDDEN
from predictd.cli import main
from predictd.errors import InputError
from predictd.io.hdf5 import read_arrays
from predictd.io.models import read_model
from predictd.io.tensor.store import Tensor
from refusals import refused

needs_forbidden = pytest.mark.skipif(not FORBIDDEN.is_file(), reason="no file that root may not read (Linux)")


@needs_forbidden
@pytest.mark.parametrize(
    "what", ["shard", "shard, copied to scratch", "summary", "verify", "moments", "model"]
)
def test_a_file_that_may_not_be_read_is_not_called_damaged(what, own_tensor, tmp_path):
    tensor = Tensor(own_tensor, scratch=tmp_path / "scratch" if "scratch" in what else None)
    name = tensor.shard_names[0]
    file = {"moments": own_tensor / "moments.h5", "model": tmp_path / "m.h5"}.get(
        what, tensor.shard_path(name)
    )
    file.unlink(missing_ok=True)
    file.symlink_to(FORBIDDEN)
    with refused(InputError, f"{file} cannot be read: Permission denied; see that you may read it"):
        if what == "summary":
            tensor.summary()
        elif what == "verify":
            tensor.verify(name)
        elif what == "model":
            read_model(file)
        elif what == "moments":
            read_arrays(file, format="x", version=1)
        else:
            with tensor.open_shard(name):
                pass


def test_a_locked_shard_is_not_called_damaged(own_tensor):
    tensor = Tensor(own_tensor)
    path = tensor.shard_path(tensor.shard_names[0])
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with refused(
            InputError, f"{path} cannot be read:", "it is locked: run the command again when no program"
        ):
            tensor.summary()


@needs_forbidden
def test_a_forbidden_file_wherever_it_shows_is_one_line(own_tensor, tmp_path, capsys, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        Path(FORBIDDEN).read_text()

    monkeypatch.setattr("predictd.cli.cli", fail)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        f"predictd: error: {FORBIDDEN} cannot be read: Permission denied; see that you may read it\n"
    )
