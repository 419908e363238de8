"""Runs clang-tidy on every C++ source of a build, and remembers what passed.

A source that passed is not looked at again until its compile command, the configuration, or any byte of
any file that it includes changes. The record names no absolute path of the checkout, so another clone
on the same machine profits too. CUDA sources are left out: this clang-tidy cannot read the CUDA 13
headers.

Most of the time goes into reading the headers of libtorch, gRPC and GoogleTest, so sources with the same flags are
checked together, as one that includes them all. If anything is found there the halves are checked, and so on: only what
is found in a source by itself counts.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

PROGRESS_SECONDS = 15
UNITY_INCLUDE = re.compile(r'^#include "(.*)"$', re.MULTILINE)
DROPPED_FLAGS = {"-c", "-fpch-preprocess", "-fPIC", "-fPIE"}
GROUP_SIZE = 12
# What must differ between sources that are checked together: names that start a line, of functions, variables
# and types, and tests. Taking too many for one only makes groups smaller.
TEST_NAME = re.compile(r"^[A-Z_]*(?:TEST|TEST_F|TEST_P|SUITE_P|BENCHMARK)\((\w+)(?:,\s*(\w+))?")
TYPE_NAME = re.compile(r"^(?:class|struct|enum class|enum|using)\s+(\w+)")
OTHER_NAME = re.compile(r"^(?!namespace|static_assert)[A-Za-z_][^({=;\[]*?([\w:]+)\s*[({=;\[]")
KEEP_SECONDS = 60 * 24 * 3600


@dataclasses.dataclass(frozen=True)
class Source:
    path: pathlib.Path
    arguments: tuple[str, ...]  # for the compiler, without its name, output and input
    includes: tuple[str, ...]  # absolute, the source itself among them


def compiler_arguments(words: list[str]) -> tuple[str, ...]:
    start = next(i for i, word in enumerate(words) if word.startswith("-"))
    kept, skip = [], False
    for word in words[start:]:
        if skip:
            skip = False
        elif word == "-o" or word == "-include":  # the latter only for precompiled headers
            skip = True
        elif word in DROPPED_FLAGS or word.startswith("-W") or word.endswith((".cc", ".cxx")):
            continue
        else:
            kept.append(word)
    # The compiler's own warnings are gcc's business; here they would only cost time.
    return (*kept, "-w")


def includes_by_object(build: pathlib.Path) -> dict[str, tuple[str, ...]]:
    listing = subprocess.run(
        ["ninja", "-C", str(build), "-t", "deps"], check=True, capture_output=True, text=True
    ).stdout
    found: dict[str, tuple[str, ...]] = {}
    for block in listing.split("\n\n"):
        head, *files = block.splitlines() or [""]
        if ": #deps" in head and "STALE" not in head:
            paths = (os.path.normpath(build / name.strip()) for name in files)
            found[head.split(": #deps")[0]] = tuple(sorted(paths))
    return found


def sources_compiled(entry: dict[str, str], build: pathlib.Path) -> list[pathlib.Path]:
    """One, or those that are compiled together: they share their options, and here their includes."""
    path = pathlib.Path(entry["file"])
    if build in path.parents and path.parent.name == "unity":
        names = UNITY_INCLUDE.findall(path.read_text())
        return [pathlib.Path(os.path.normpath(path.parent / name)) for name in names]
    return [path]


def read_sources(root: pathlib.Path, build: pathlib.Path, only: tuple[str, ...]) -> list[Source]:
    includes = includes_by_object(build)
    sources, not_built = [], []
    for entry in json.loads((build / "compile_commands.json").read_text()):
        words = shlex.split(entry["command"])
        object_name = words[words.index("-o") + 1]
        for path in sources_compiled(entry, build):
            if path.suffix != ".cc" or build in path.parents or not path.is_relative_to(root):
                continue
            if only and not str(path.relative_to(root)).startswith(only):
                continue
            if object_name not in includes:
                not_built.append(str(path.relative_to(root)))
                continue
            sources.append(Source(path, compiler_arguments(words), includes[object_name]))
    if not_built:
        sys.exit(f"clang-tidy: not built, so what they include is unknown: {' '.join(not_built)}")
    return sources


@functools.cache
def file_digest(path: str) -> str:
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


@functools.cache
def names_in(path: str) -> dict[str, str]:
    """The names that a file declares, with the line if that says all there is to say (an alias)."""
    names = {}
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        if match := TEST_NAME.match(line):
            names["_".join(filter(None, match.groups()))] = path
        elif match := TYPE_NAME.match(line) or OTHER_NAME.match(line):
            names[match[1]] = line if line.startswith("using") else path
    return names


def names_of(source: Source, root: pathlib.Path, build: pathlib.Path) -> dict[str, str]:
    """Those of the source and of the project's headers behind it."""
    names = {}
    for path in map(pathlib.Path, source.includes):
        # Not of a source that is only compiled together with it.
        is_own = path == source.path or path.suffix != ".cc"
        if is_own and path.is_relative_to(root) and build not in path.parents:
            names |= names_in(str(path))
    return names


def go_together(names: dict[str, str], others: dict[str, str]) -> bool:
    if len(names) > len(others):
        names, others = others, names
    return all(others.get(name, place) == place for name, place in names.items())


def groups_of(sources: list[Source], root: pathlib.Path, build: pathlib.Path) -> list[list[Source]]:
    """Sources of the same flags in which no name means two things, neighbours together."""
    open_groups: dict[tuple[str, ...], list[tuple[list[Source], dict[str, str]]]] = {}
    for source in sorted(sources, key=lambda source: source.path):
        names = names_of(source, root, build)
        groups = open_groups.setdefault(source.arguments, [])
        for group, taken in groups:
            if len(group) < GROUP_SIZE and go_together(names, taken):
                group.append(source)
                taken |= names
                break
        else:
            groups.append(([source], names))
    return [group for groups in open_groups.values() for group, _ in groups]


class Checker:
    def __init__(self, options: argparse.Namespace) -> None:
        self.root: pathlib.Path = options.root
        self.build: pathlib.Path = options.build
        self.tidy: pathlib.Path = options.tidy
        self.cache: pathlib.Path = options.cache
        self.config = self.root / ".clang-tidy"
        version = subprocess.run(
            [self.tidy, "--version"], check=True, capture_output=True, text=True
        ).stdout
        self.common_key = version + self.config.read_text() + pathlib.Path(__file__).read_text()

    def key(self, source: Source) -> str:
        digest = hashlib.sha256(self.common_key.encode())
        for text in (str(source.path), *source.arguments):
            digest.update(text.replace(str(self.root), "").encode() + b"\0")
        for include in source.includes:
            digest.update(include.replace(str(self.root), "").encode() + b"\0")
            digest.update(file_digest(include).encode())
        return digest.hexdigest()

    def passed_before(self, source: Source) -> bool:
        record = self.cache / self.key(source)
        if record.exists():
            record.touch()
            return True
        return False

    def run(self, path: pathlib.Path, arguments: tuple[str, ...]) -> subprocess.CompletedProcess:
        return subprocess.run(
            [
                self.tidy,
                "--quiet",
                f"--config-file={self.config}",
                f"--header-filter=^{self.root}/(common|sharer|receiver|experiments|tests)/",
                str(path),
                "--",
                *arguments,
            ],
            capture_output=True,
            text=True,
            cwd=self.root,
        )

    def pass_together(self, group: list[Source]) -> bool:
        """Whether nothing is found in a source that includes them all; not if two do not go together."""
        with tempfile.NamedTemporaryFile("w", suffix=".cc") as file:
            for source in group:
                file.write(f'#include "{source.path}"  // NOLINT(bugprone-suspicious-include)\n')
            file.flush()
            return self.run(pathlib.Path(file.name), group[0].arguments).returncode == 0

    def check(self, group: list[Source]) -> list[str]:
        """What was found in each source: an empty text if it passed."""
        if len(group) > 1:
            if self.pass_together(group):
                for source in group:
                    self.record(source)
                return [""] * len(group)
            middle = len(group) // 2
            return self.check(group[:middle]) + self.check(group[middle:])
        done = self.run(group[0].path, group[0].arguments)
        if done.returncode == 0:
            self.record(group[0])
            return [""]
        return [done.stdout or done.stderr]

    def record(self, source: Source) -> None:
        (self.cache / self.key(source)).touch()


def forget_old_records(cache: pathlib.Path) -> None:
    for record in cache.iterdir():
        if time.time() - record.stat().st_mtime > KEEP_SECONDS:
            record.unlink()


def check_all(checker: Checker, sources: list[Source], jobs: int) -> int:
    failures, checked, reported = 0, 0, set()
    next_report = time.monotonic() + PROGRESS_SECONDS
    # The slow ones (libtorch, gRPC) first, so that the last minute keeps every core busy.
    groups = sorted(
        groups_of(sources, checker.root, checker.build),
        key=lambda group: (
            -sum(os.path.getsize(path) for source in group for path in source.includes)
        ),
    )
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        pending = [pool.submit(checker.check, group) for group in groups]
        for future in concurrent.futures.as_completed(pending):
            for found in future.result():
                checked += 1
                failures += bool(found)
                # A header's mistake shows up in every source that includes it.
                if found and found not in reported:
                    reported.add(found)
                    print(found, flush=True)
            if time.monotonic() >= next_report:
                print(f"clang-tidy: {checked}/{len(sources)}", flush=True)
                next_report = time.monotonic() + PROGRESS_SECONDS
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, required=True, help="the checkout")
    parser.add_argument("--build", type=pathlib.Path, required=True, help="a complete build of it")
    parser.add_argument("--cache", type=pathlib.Path, required=True, help="records of what passed")
    parser.add_argument("--tidy", type=pathlib.Path, required=True, help="the clang-tidy program")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("only", nargs="*", help="paths below the root; all sources if none")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    forget_old_records(options.cache)

    sources = read_sources(options.root, options.build, tuple(options.only))
    checker = Checker(options)
    fresh = [source for source in sources if not checker.passed_before(source)]
    start = time.monotonic()
    failures = check_all(checker, fresh, options.jobs)
    print(
        f"clang-tidy: {len(sources)} sources, {len(sources) - len(fresh)} unchanged since they passed, "
        f"{len(fresh)} checked in {time.monotonic() - start:.0f} s, {failures} with findings"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
