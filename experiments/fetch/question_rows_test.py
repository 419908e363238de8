"""Published rows become the driver's questions; what is no question is refused by its row."""

import json

import pytest

from fetch_error import FetchError
from question_rows import question_lines
from registry import QuestionSet

# Laid out as the two published sets are.
WITH_FACT = {
    "id": "8-343",
    "question_stem": "What is wet?",
    "choices": {"text": ["sand", "fire", "wärme", "water"], "label": ["A", "B", "C", "D"]},
    "fact1": "water is wet",
    "answerKey": "D",
}
NUMBERED = {
    "id": "NYS_1",
    "question": "Which is a planet?",
    "choices": {"text": ["Mars", "Sun", "Moon"], "label": ["1", "2", "3"]},
    "answerKey": "1",
}


def a_set(questions: int, only: str | None = None) -> QuestionSet:
    return QuestionSet("set", "a set", "MIT", "owner/set", "main/test.parquet", questions, only)


def test_rows_become_questions_with_letters_by_position():
    lines = question_lines([WITH_FACT, NUMBERED], a_set(2))
    assert [json.loads(line) for line in lines] == [
        {
            "id": "8-343",
            "question": "What is wet?",
            "choices": {"A": "sand", "B": "fire", "C": "wärme", "D": "water"},
            "answer": "D",
            "fact": "water is wet",
        },
        {
            "id": "NYS_1",
            "question": "Which is a planet?",
            "choices": {"A": "Mars", "B": "Sun", "C": "Moon"},
            "answer": "A",
        },
    ]


def test_questions_that_are_labelled_otherwise_can_be_left_out():
    lines = question_lines([NUMBERED, WITH_FACT], a_set(1, "lettered"))
    assert [json.loads(line)["id"] for line in lines] == ["8-343"]


@pytest.mark.parametrize(
    "change",
    [
        {"answerKey": "E"},
        {"answerKey": None},
        {"choices": {"text": ["one"], "label": ["A"]}},
        {"choices": {"text": ["one", ""], "label": ["A", "B"]}},
        {"choices": {"text": ["one", "two", "three"], "label": ["A", "B"]}},
        {"choices": None},
    ],
)
def test_a_row_that_is_no_question_is_named(change):
    with pytest.raises(FetchError, match=r"row 1 of main/test\.parquet is no question"):
        question_lines([WITH_FACT, {**WITH_FACT, **change}], a_set(2))


def test_a_set_of_another_size_is_refused():
    with pytest.raises(FetchError, match="has 1 questions, expected 500"):
        question_lines([WITH_FACT], a_set(500))
