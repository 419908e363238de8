"""Wheels with one data file, that pip takes from a folder; for the tests."""

import zipfile
from pathlib import Path


def write_wheel(folder: Path, name: str, data_name: str, data: bytes) -> Path:
    """A wheel of version 1.0 with `data` at NAME/data/DATA_NAME, and code that must not run."""
    module = name.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    path = folder / f"{module}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{module}/__init__.py", "raise SystemExit('code of a package ran')\n")
        archive.writestr(f"{module}/data/{data_name}", data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path
