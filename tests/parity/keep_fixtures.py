"""Runs a script that writes what C++ tests compare with, or copies what it wrote before from the same inputs.

    keep_fixtures.py SCRIPT FOLDER [--input PATH ...] [--variable NAME ...]

SCRIPT gets FOLDER as its argument and writes it anew. What it wrote is kept in $QC2C_CACHE/fixtures, under a hash of
all that it can depend on: the scripts beside it, the Python environment's name (a hash of its packages), and every
byte of the inputs: files and folders, and those that environment variables name. Without QC2C_CACHE it always runs.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KEEP_SECONDS = 60 * 24 * 3600


def files_of(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def add_input(digest, name: str, path: Path) -> None:
    """Names below the input and their bytes: where it lies does not matter, that it is absent does."""
    for file in files_of(path.resolve()):
        digest.update(f"{name}\0{os.path.relpath(file, path.resolve())}\0".encode())
        if file.exists():
            digest.update(hashlib.sha256(file.read_bytes()).digest())


def key_of(script: Path, inputs: list[Path], variables: list[str]) -> str:
    digest = hashlib.sha256(f"{sys.prefix}\0{sys.version}\0{script.name}\0".encode())
    for neighbour in sorted(script.parent.glob("*.py")):
        add_input(digest, neighbour.name, neighbour)
    for index, path in enumerate(inputs):
        add_input(digest, f"input {index}", path)
    for name in variables:
        digest.update(f"{name}\0{name in os.environ}\0".encode())
        if name in os.environ:
            add_input(digest, name, Path(os.environ[name]))
    return digest.hexdigest()


def keep(folder: Path, kept: Path) -> None:
    """Whole or not at all, also where two runs keep the same; what nobody asked for in a long time goes."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    for old in kept.parent.iterdir():
        if time.time() - old.stat().st_mtime > KEEP_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    unfinished = Path(tempfile.mkdtemp(dir=kept.parent))
    shutil.copytree(folder, unfinished / "files")
    try:
        (unfinished / "files").rename(kept)
    except OSError as error:
        if not kept.is_dir():
            raise error
    shutil.rmtree(unfinished)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("script", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--input", type=Path, action="append", default=[], metavar="PATH")
    parser.add_argument("--variable", action="append", default=[], metavar="NAME")
    options = parser.parse_args()

    kept = None
    if cache := os.environ.get("QC2C_CACHE"):
        key = key_of(options.script, options.input, options.variable)
        kept = Path(cache) / "fixtures" / f"{options.script.stem}-{key[:24]}"
    shutil.rmtree(options.folder, ignore_errors=True)
    if kept and kept.is_dir():
        os.utime(kept)
        shutil.copytree(kept, options.folder)
        print(f"the same scripts and inputs as before: from {kept}")
        return 0
    status = subprocess.run([sys.executable, options.script, options.folder]).returncode
    if status == 0 and kept and options.folder.is_dir():
        keep(options.folder, kept)
    return status


if __name__ == "__main__":
    sys.exit(main())
