"""Rows of a published multiple-choice set to the JSON lines that the driver reads."""

import json
from pathlib import Path

from fetch_error import EXIT_BAD_DATA, FetchError
from registry import QuestionSet

LETTERS = "ABCDEFGHIJ"


def _question(row: dict) -> dict:
    """One row; raises KeyError, TypeError or ValueError if it is not laid out as those of the set.

    Labels become A, B, C, ... by position: some sets label a part of their questions 1, 2, 3, ...
    """
    texts, labels = list(row["choices"]["text"]), list(row["choices"]["label"])
    if not 2 <= len(texts) == len(labels) <= len(LETTERS) or not all(texts):
        raise ValueError(f"{len(labels)} labels and {len(texts)} texts")
    question = {
        "id": row["id"],
        "question": row["question_stem"] if "question_stem" in row else row["question"],
        "choices": dict(zip(LETTERS, texts, strict=False)),
        "answer": LETTERS[labels.index(row["answerKey"])],
    }
    if "fact1" in row:
        question["fact"] = row["fact1"]
    return question


def _is_lettered(row: dict) -> bool:
    labels = list(row["choices"]["label"])
    return labels == list(LETTERS[: len(labels)])


def question_lines(rows: list[dict], wanted: QuestionSet) -> list[str]:
    """The set's questions in the published order; FetchError names the row that is not one."""
    lines = []
    for number, row in enumerate(rows):
        try:
            if wanted.only == "lettered" and not _is_lettered(row):
                continue
            lines.append(json.dumps(_question(row), ensure_ascii=False))
        except (KeyError, TypeError, ValueError) as error:
            raise FetchError(
                f"{wanted.hub}: row {number} of {wanted.file} is no question:"
                f" {type(error).__name__} {error}",
                EXIT_BAD_DATA,
            ) from error
    if len(lines) != wanted.questions:
        raise FetchError(
            f"{wanted.hub}: {wanted.file} has {len(lines)} questions, expected {wanted.questions}",
            EXIT_BAD_DATA,
        )
    return lines


def read_parquet(path: Path) -> list[dict]:
    import pyarrow.lib
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.lib.ArrowException as error:
        raise FetchError(f"{path}: {error}", EXIT_BAD_DATA) from error
