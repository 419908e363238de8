"""The `gguf` package, in a small folder of its own beside the private Python environment.

That environment is named by its list of packages and takes 5 GB and minutes to make again; one
pure-Python package of 120 kB that only this command needs is no reason to.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from fetch_error import EXIT_UNAVAILABLE, FetchError

REQUIREMENT = "gguf==0.19.0"


def gguf_folder(cache: Path) -> Path:
    """The folder to put on the path of a Python that imports gguf; installs it the first time.

    Its dependencies (NumPy, PyYAML, tqdm, requests) are in the environment already.
    """
    digest = hashlib.sha256(REQUIREMENT.encode()).hexdigest()[:12]
    folder = cache / f"gguf-{digest}"
    if folder.exists():
        return folder
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--no-deps", "--only-binary=:all:", "--target", str(partial)]
    result = subprocess.run([*command, REQUIREMENT], capture_output=True, text=True)
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or ["pip said nothing"]
        raise FetchError(f"{REQUIREMENT} could not be installed: {lines[-1]}", EXIT_UNAVAILABLE)
    partial.rename(folder)
    return folder
