"""What keep_fixtures.py promises: it runs the script once for the same inputs, and again for others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

KEEPER = Path(__file__).with_name("keep_fixtures.py")
# Says in the log that it ran, and writes what its input says.
SCRIPT = """
import os, pathlib, sys
pathlib.Path(os.environ["LOG"]).open("a").write("ran ")
if os.environ.get("FAIL"):
    sys.exit(3)
folder = pathlib.Path(sys.argv[1])
folder.mkdir()
(folder / "out").write_text(pathlib.Path(os.environ["INPUT"]).read_text())
"""


class Place:
    def __init__(self, root: Path) -> None:
        self.root, self.input, self.log = root, root / "input", root / "log"
        self.script = root / "scripts" / "write.py"
        self.script.parent.mkdir()
        self.script.write_text(SCRIPT)
        self.input.write_text("first")
        self.log.touch()

    def run(self, checkout: str, **environment: str) -> int:
        """The exit status of the keeper in one of two checkouts."""
        folder = self.root / checkout / "fixtures"
        folder.parent.mkdir(exist_ok=True)
        variables = {
            "LOG": str(self.log),
            "INPUT": str(self.input),
            "QC2C_CACHE": f"{self.root}/cache",
        }
        command = [
            sys.executable,
            KEEPER,
            self.script,
            folder,
            "--input",
            self.input,
            "--variable",
            "MORE",
        ]
        return subprocess.run(command, env={**os.environ, **variables, **environment}).returncode

    def written(self, checkout: str) -> str:
        return (self.root / checkout / "fixtures" / "out").read_text()

    def runs(self) -> int:
        return len(self.log.read_text().split())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_another_checkout_gets_what_was_written(place: Place) -> None:
    assert place.run("a") == 0
    assert place.run("b") == 0
    assert place.runs() == 1
    assert place.written("b") == "first"


def test_another_input_script_or_variable_runs_it_again(place: Place) -> None:
    place.run("a")
    place.input.write_text("second")
    place.run("a")
    assert (place.runs(), place.written("a")) == (2, "second")
    place.script.with_name("imported.py").write_text("X = 1")
    place.run("a")
    assert place.runs() == 3
    place.run("a", MORE=str(place.log.parent / "scripts"))
    assert place.runs() == 4
    place.run("a", MORE=str(place.log.parent / "nothing"))
    assert place.runs() == 5


def test_a_script_that_fails_leaves_nothing(place: Place) -> None:
    assert place.run("a", FAIL="1") == 3
    assert place.run("a") == 0
    assert place.runs() == 2


def test_without_a_cache_it_always_runs(place: Place) -> None:
    place.run("a", QC2C_CACHE="")
    place.run("a", QC2C_CACHE="")
    assert place.runs() == 2
