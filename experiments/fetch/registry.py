"""experiments/models.yaml, checked field by field."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from fetch_error import EXIT_BAD_DATA, FetchError

_HUB = r"[\w.-]+/[\w.-]+"


@dataclass(frozen=True)
class Packages:
    names: tuple[str, ...]
    version: str
    file: str  # pattern of the one file in each wheel
    megabytes: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Model:
    name: str
    what: str
    licence: str
    megabytes: int
    hub: str | None
    packages: Packages | None


@dataclass(frozen=True)
class QuestionSet:
    name: str
    what: str
    licence: str
    hub: str
    file: str  # a Parquet file in the data set's repository
    questions: int
    only: str | None  # "lettered": without the questions whose choices are labelled otherwise


@dataclass(frozen=True)
class Registry:
    models: dict[str, Model]
    questions: dict[str, QuestionSet]


class _Fields:
    """A map of the file, read field by field so that what nobody asked for is an error too."""

    def __init__(self, where: str, value: object):
        self.where = where
        if not isinstance(value, dict):
            raise self._error(f"is {value!r:.80}, expected a map")
        self._left = dict(value)

    def _error(self, message: str) -> FetchError:
        return FetchError(f"{self.where} {message}", EXIT_BAD_DATA)

    def has(self, name: str) -> bool:
        return name in self._left

    def names(self) -> list:
        return list(self._left)

    def take(self, name: str) -> object:
        if name not in self._left:
            raise self._error(f"has no `{name}`")
        return self._left.pop(name)

    def text(self, name: str, pattern: str, expected: str) -> str:
        value = self.take(name)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise self._error(f"`{name}` is {value!r:.80}, expected {expected}")
        return value

    def count(self, name: str) -> int:
        value = self.take(name)
        if type(value) is not int or value < 1:
            raise self._error(f"`{name}` is {value!r:.80}, expected a whole number above 0")
        return value

    def end(self) -> None:
        if self._left:
            raise self._error(
                f"has `{sorted(map(str, self._left))[0]}`, which is not a known field"
            )


def _package_names(text: str) -> tuple[str, ...]:
    """`name`, or `name{1..22}` as a shell expands it."""
    match = re.fullmatch(r"(.*)\{(\d+)\.\.(\d+)\}", text)
    if match is None:
        return (text,)
    first, last = int(match[2]), int(match[3])
    return tuple(f"{match[1]}{number}" for number in range(first, last + 1))


def _read_packages(where: str, value: object) -> Packages:
    fields = _Fields(where, value)
    names = fields.text(
        "names", r"[\w.-]+(\{\d+\.\.\d+\})?", "a package name or a range name{1..22}"
    )
    packages = Packages(
        names=_package_names(names),
        version=fields.text("version", r"[\w.+!-]+", "a version"),
        file=fields.text("file", r"\S+", "a pattern of a file in the package"),
        megabytes=fields.count("megabytes"),
        bytes=fields.count("bytes"),
        sha256=fields.text("sha256", r"[0-9a-f]{64}", "64 hex digits"),
    )
    if not packages.names:
        raise FetchError(f"{where} `names` is {names!r}: an empty range", EXIT_BAD_DATA)
    fields.end()
    return packages


def _read_model(where: str, name: str, value: object) -> Model:
    fields = _Fields(where, value)
    hub = packages = None
    if fields.has("hub"):
        hub = fields.text("hub", _HUB, "owner/name")
    if fields.has("packages"):
        packages = _read_packages(f"{where}.packages", fields.take("packages"))
    if hub is None and packages is None:
        raise FetchError(f"{where} has neither `hub` nor `packages`", EXIT_BAD_DATA)
    model = Model(
        name=name,
        what=fields.text("what", r".+", "a line of text"),
        licence=fields.text("licence", r".+", "a line of text"),
        megabytes=fields.count("megabytes"),
        hub=hub,
        packages=packages,
    )
    fields.end()
    return model


def _read_questions(where: str, name: str, value: object) -> QuestionSet:
    fields = _Fields(where, value)
    questions = QuestionSet(
        name=name,
        what=fields.text("what", r".+", "a line of text"),
        licence=fields.text("licence", r".+", "a line of text"),
        hub=fields.text("hub", _HUB, "owner/name"),
        file=fields.text("file", r"[\w./-]+\.parquet", "a Parquet file's path"),
        questions=fields.count("questions"),
        only=fields.text("only", "lettered", "`lettered`") if fields.has("only") else None,
    )
    fields.end()
    return questions


def _read_section(top: _Fields, section: str, read: Callable) -> dict:
    where = f"{top.where} {section}"
    if not top.has(section):
        return {}
    entries = _Fields(where, top.take(section))
    result = {}
    for name in entries.names():
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
            raise FetchError(f"{where} has {name!r}, expected a file name", EXIT_BAD_DATA)
        result[name] = read(f"{where}.{name}", name, entries.take(name))
    return result


def read_registry(path: Path) -> Registry:
    """What there is, by name, in the file's order. FetchError naming the field that is wrong."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FetchError(f"{path}: {error}", EXIT_BAD_DATA) from error
    top = _Fields(f"{path}:", content)
    registry = Registry(
        models=_read_section(top, "models", _read_model),
        questions=_read_section(top, "questions", _read_questions),
    )
    top.end()
    twice = registry.models.keys() & registry.questions.keys()
    if twice:
        raise FetchError(f"{path}: `{min(twice)}` is a model and a question set", EXIT_BAD_DATA)
    return registry
