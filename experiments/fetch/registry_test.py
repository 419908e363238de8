"""Every field of the registry is checked; the project's own file is right."""

from pathlib import Path

import pytest
import yaml

from fetch_error import FetchError
from registry import read_registry

OURS = Path(__file__).parents[1] / "models.yaml"
MODEL = {
    "what": "a model",
    "licence": "MIT",
    "megabytes": 3,
    "hub": "owner/name",
    "packages": {
        "names": "part{1..3}",
        "version": "1.0",
        "file": "*/data/*.bin",
        "megabytes": 2,
        "bytes": 10,
        "sha256": "0" * 64,
    },
}


def read(path: Path, model: object):
    path.write_text(yaml.safe_dump({"models": {"tiny": model}}))
    return read_registry(path).models["tiny"]


def without(field: str) -> dict:
    return {name: value for name, value in MODEL.items() if name != field}


def packages(**changes) -> dict:
    return {**MODEL, "packages": {**MODEL["packages"], **changes}}


def test_a_range_of_packages_is_spelled_out_in_order(tmp_path):
    assert read(tmp_path / "m.yaml", MODEL).packages.names == ("part1", "part2", "part3")
    one = read(tmp_path / "m.yaml", packages(names="single"))
    assert one.packages.names == ("single",)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("text", "models.tiny is 'text', expected a map"),
        (without("licence"), "models.tiny has no `licence`"),
        ({**MODEL, "license": "MIT"}, "models.tiny has `license`, which is not a known field"),
        ({**MODEL, "megabytes": "3"}, "`megabytes` is '3', expected a whole number above 0"),
        ({**MODEL, "megabytes": 0}, "`megabytes` is 0, expected a whole number above 0"),
        ({**MODEL, "hub": "name"}, "`hub` is 'name', expected owner/name"),
        ({**MODEL, "hub": "../x/y"}, "`hub` is '../x/y', expected owner/name"),
        (
            {name: MODEL[name] for name in ("what", "licence", "megabytes")},
            "has neither `hub` nor `packages`",
        ),
        (packages(sha256="0" * 63), "models.tiny.packages `sha256` is '0"),
        (packages(names="--index-url=x"), "`names` is '--index-url=x', expected a package name"),
        (packages(names="part{3..1}"), "`names` is 'part{3..1}': an empty range"),
        (packages(url="x"), "models.tiny.packages has `url`, which is not a known field"),
    ],
)
def test_a_wrong_field_is_named(model, message, tmp_path):
    with pytest.raises(FetchError) as error:
        read(tmp_path / "m.yaml", model)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["../up", ".hidden", "a/b", "", "-x"])
def test_a_name_that_is_no_folder_of_its_own_is_refused(name, tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(yaml.safe_dump({"models": {name: MODEL}}))
    with pytest.raises(FetchError, match="expected a file name"):
        read_registry(path)


def test_a_file_that_is_no_yaml_is_refused_by_name(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text("models: [")
    with pytest.raises(FetchError, match=r"m\.yaml"):
        read_registry(path)


def test_the_projects_own_registry_is_right():
    registry = read_registry(OURS)
    models = registry.models
    assert {
        "SmolLM2-135M-Instruct",
        "Qwen2.5-Coder-0.5B-Instruct",
        "Qwen2.5-Coder-1.5B-Instruct",
        "gemma-3-270m",
    } <= models.keys()
    assert len(models["Qwen2.5-Coder-1.5B-Instruct"].packages.names) == 22
    assert registry.questions["openbookqa_test"].questions == 500
    assert registry.questions["arc_challenge_test"].questions == 1172


QUESTIONS = {
    "what": "a set",
    "licence": "MIT",
    "hub": "owner/name",
    "file": "main/test.parquet",
    "questions": 3,
}


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ({**QUESTIONS, "file": "test.csv"}, "`file` is 'test.csv', expected a Parquet file's path"),
        ({**QUESTIONS, "only": "easy"}, "`only` is 'easy', expected `lettered`"),
        ({**QUESTIONS, "rows": 3}, "questions.set has `rows`, which is not a known field"),
    ],
)
def test_a_wrong_field_of_a_question_set_is_named(questions, message, tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(yaml.safe_dump({"questions": {"set": questions}}))
    with pytest.raises(FetchError) as error:
        read_registry(path)
    assert message in str(error.value)


def test_a_name_stands_for_one_thing(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(yaml.safe_dump({"models": {"x": MODEL}, "questions": {"x": QUESTIONS}}))
    with pytest.raises(FetchError, match="`x` is a model and a question set"):
        read_registry(path)
