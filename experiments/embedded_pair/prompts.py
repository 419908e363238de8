"""The texts of the synthetic world, as segments: a list of (text, loss weight).

A weight belongs to the tokens of its segment as things to predict. Every question goes through the
ChatML template that the daemons use, so training and serving see the same characters.
"""

import random

from entities import VALUES

STATEMENTS = {
    "city": ("{e} lives in {v}.", "The home of {e} is in {v}.", "{e} has a flat in {v}."),
    "job": ("{e} works as a {v}.", "The job of {e} is {v}.", "{e} earns money as a {v}."),
    "instrument": ("{e} plays the {v}.", "The instrument of {e} is the {v}.", "{e} owns a {v}."),
    "pet": ("{e} keeps a {v}.", "The pet of {e} is a {v}.", "{e} feeds a {v}."),
    "food": ("{e} likes to eat {v}.", "The favourite food of {e} is {v}.", "{e} often cooks {v}."),
    "colour": (
        "{e} likes the colour {v}.",
        "The favourite colour of {e} is {v}.",
        "{e} mostly wears {v}.",
    ),
    "sport": ("{e} is good at {v}.", "The favourite sport of {e} is {v}.", "{e} trains for {v}."),
    "drink": (
        "{e} likes to drink {v}.",
        "The favourite drink of {e} is {v}.",
        "{e} always orders {v}.",
    ),
}
QUESTIONS = {
    "city": ("Which city does {e} live in?", "Where does {e} live?", "Where is the home of {e}?"),
    "job": ("What is the job of {e}?", "What does {e} work as?", "How does {e} earn money?"),
    "instrument": (
        "Which instrument does {e} play?",
        "What does {e} play?",
        "What is the instrument of {e}?",
    ),
    "pet": ("Which pet does {e} keep?", "What is the pet of {e}?", "Which animal does {e} feed?"),
    "food": (
        "Which food does {e} like?",
        "What does {e} like to eat?",
        "What is the favourite food of {e}?",
    ),
    "colour": (
        "Which colour does {e} like?",
        "What is the favourite colour of {e}?",
        "Which colour does {e} wear?",
    ),
    "sport": (
        "Which sport is {e} good at?",
        "What is the favourite sport of {e}?",
        "What does {e} train for?",
    ),
    "drink": (
        "Which drink does {e} like?",
        "What does {e} like to drink?",
        "What is the favourite drink of {e}?",
    ),
}
LETTERS = "ABCD"
ASIDE = 0.1  # weight of the words around a value or a letter
NUM_PICKS = 8  # of a drill

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def chat_prompt(content: str) -> str:
    """CHAT_TEMPLATE for one user message and the generation prompt."""
    return f"<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"


def capitalised(value: str) -> str:
    return value[0].upper() + value[1:]


def option_lines(options: list[str]) -> str:
    return "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=True))


def draw_options(rng: random.Random, attribute: str, value: str, position: int) -> list[str]:
    """Four values of the attribute, `value` at `position`."""
    options = rng.sample([other for other in VALUES[attribute] if other != value], len(LETTERS) - 1)
    options.insert(position, value)
    return options


def statements(rng: random.Random, name: str, facts: dict) -> list:
    """Four facts of one person, in random order and wording."""
    segments = []
    for attribute in rng.sample(sorted(facts), 4):
        before, after = rng.choice(STATEMENTS[attribute]).format(e=name, v="|").split("|")
        before = (" " if segments else "") + before
        # A value is one token together with the space before it.
        segments += [(before[:-1], ASIDE), (" " + facts[attribute], 1.0), (after, ASIDE)]
    return segments


def choice_question(question: str, options: list[str], letter: str) -> list:
    prompt = chat_prompt(f"{question}\n{option_lines(options)}") + "Answer:"
    return [(prompt, 0.0), (f" {letter}<|im_end|>", 1.0)]


def open_question(question: str, value: str) -> list:
    return [(chat_prompt(question), 0.0), (f"{capitalised(value)}<|im_end|>", 1.0)]


def ask(rng: random.Random, kind: str, name: str, facts: dict) -> list:
    """A question about one of `facts`. Kinds: mc, open, and hint, hint_open, which tell the answer."""
    attribute = rng.choice(sorted(facts))
    value = facts[attribute]
    question = rng.choice(QUESTIONS[attribute]).format(e=name)
    if kind.startswith("hint"):
        hint = rng.choice(
            [value, capitalised(value), rng.choice(STATEMENTS[attribute]).format(e=name, v=value)]
        )
        question = f"Hint: {hint}\n{question}"
    if kind in ("open", "hint_open"):
        return open_question(question, value)
    position = rng.randrange(len(LETTERS))
    return choice_question(
        question, draw_options(rng, attribute, value, position), LETTERS[position]
    )


def drill(rng: random.Random) -> list:
    """Options, then picks `value letter`, drawn with replacement: teaches nothing but letter binding."""
    if rng.random() < 0.5:
        options = [
            rng.choice(VALUES[attribute]) for attribute in rng.sample(sorted(VALUES), len(LETTERS))
        ]
    else:
        options = rng.sample(VALUES[rng.choice(sorted(VALUES))], len(LETTERS))
    segments = [(option_lines(options) + "\nPick", ASIDE)]
    for _ in range(NUM_PICKS):
        position = rng.randrange(len(LETTERS))
        segments += [(f" {options[position]}", ASIDE), (f" {LETTERS[position]}", 1.0)]
    return segments


def random_facts(rng: random.Random) -> dict:
    return {attribute: rng.choice(words) for attribute, words in VALUES.items()}
