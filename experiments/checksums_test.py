"""The committed weights are those that their SHA256SUMS name, and none is missing there."""

import hashlib
import pathlib

import pytest

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
NOT_SUMMED = {"README.md", "SHA256SUMS", "training.log"}


@pytest.mark.parametrize("folder", ["embedded", "pairs"])
def test_every_committed_file_has_the_sum_that_is_written_beside_it(folder):
    lines = (DATA / folder / "SHA256SUMS").read_text().splitlines()
    written = {path: digest for digest, path in (line.split("  ", 1) for line in lines)}
    found = {
        path.relative_to(DATA / folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (DATA / folder).rglob("*")
        if path.is_file() and path.name not in NOT_SUMMED
    }
    assert found == written
