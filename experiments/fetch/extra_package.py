"""Python packages that only `qc2c fetch` needs, each in a small folder of its own in the cache.

The private Python environment is named by its list of packages and takes 5 GB and minutes to make
again: a package that one command needs is no reason to, and is fetched the first time it is needed.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from fetch_error import EXIT_UNAVAILABLE, FetchError

# Their dependencies (NumPy, PyYAML, tqdm, requests) are in the environment already.
GGUF = "gguf==0.19.0"  # pure Python, 120 kB
PARQUET = "pyarrow==26.0.1"  # 55 MB: for question sets only


def package_folder(requirement: str, cache: Path) -> Path:
    # Not every package is pure Python: another version of Python has another folder.
    contents = f"{requirement} python {sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(contents.encode()).hexdigest()[:12]
    return cache / f"{requirement.partition('=')[0]}-{digest}"


def extra_package(requirement: str, cache: Path) -> Path:
    """The folder to put on the path of a Python that imports the package; installs it if need be."""
    folder = package_folder(requirement, cache)
    if folder.exists():
        return folder
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--no-deps", "--only-binary=:all:", "--target", str(partial)]
    result = subprocess.run([*command, requirement], capture_output=True, text=True)
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or ["pip said nothing"]
        raise FetchError(f"{requirement} could not be installed: {lines[-1]}", EXIT_UNAVAILABLE)
    partial.rename(folder)
    return folder
