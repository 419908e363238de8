"""Who exists in the synthetic world and what is true of them: everything from one integer seed.

680 people, each with one value for each of 8 attributes. They are split by who is taught what:
  S  the sharer knows them, a fuser may train on them
  H  the sharer knows them, no fuser ever sees them (held out)
  R  the receiver knows them
  N  nobody knows them (the control: no gain here, or something leaks)
"""

import dataclasses
import random

SPLIT_SIZES = {"S": 320, "H": 136, "R": 160, "N": 64}

# Every word takes "a", never "an", and no word belongs to two attributes.
VALUES = {
    "city": "Paris London Berlin Madrid Rome Vienna Lisbon Dublin Prague Warsaw Moscow Tokyo Cairo Delhi Sydney Boston",
    "job": "teacher doctor nurse lawyer farmer baker pilot sailor painter singer dancer writer judge miner tailor waiter",
    "instrument": "piano guitar violin flute drum harp trumpet cello banjo clarinet tuba lute horn fiddle bassoon mandolin",
    "pet": "dog cat horse rabbit parrot hamster turtle snake goldfish lizard canary pony ferret mouse frog duck",
    "food": "pizza rice soup bread cheese pasta salad fish chicken beef curry chocolate honey sushi cake bacon",
    "colour": "red blue green yellow black white brown pink purple grey violet scarlet crimson teal silver gold",
    "sport": "tennis football hockey golf rugby cricket boxing cycling rowing running skiing swimming volleyball baseball karate judo",
    "drink": "tea coffee milk water juice wine beer lemonade cocoa cider soda whisky rum gin vodka tonic",
}
VALUES = {attribute: tuple(words.split()) for attribute, words in VALUES.items()}

FIRST_NAMES = tuple(
    "Anna Ben Clara David Emma Felix Grace Henry Iris Jack Karen Leo Maria Noah Olga Peter "
    "Quinn Rosa Simon Tina Ursula Victor Wendy Xavier Yara Zoe Bruno Daisy Frank Helen Louis Mona".split()
)
# A last name is head + tail, unique for each person: one token, so that a fact hangs on one embedding.
HEADS = "Bal Cor Dun Fen Gal Hol Jor Kel Lun Mar Nor Pel Ras Sel Tor Var Wen Yor Zan Bri Dra Fle Gri Kro Pla Sto Tri Hei Vos Lam".split()
TAILS = "bek dor fin gar hart kin low mond nes pol quist ridge stad ton vik wick zer bury den ford gren holm jord by rup".split()


@dataclasses.dataclass(frozen=True)
class Entity:
    name: str
    split: str  # S, H, R or N
    facts: dict  # attribute -> value


def make_entities(seed: int) -> list[Entity]:
    """The whole population, in an order that tells nothing about the split."""
    rng = random.Random(f"entities {seed}")
    num_entities = sum(SPLIT_SIZES.values())
    last_names = rng.sample([head + tail for head in HEADS for tail in TAILS], num_entities)
    splits = [split for split, size in SPLIT_SIZES.items() for _ in range(size)]
    rng.shuffle(splits)
    return [
        Entity(
            name=f"{rng.choice(FIRST_NAMES)} {last_name}",
            split=split,
            facts={attribute: rng.choice(words) for attribute, words in VALUES.items()},
        )
        for last_name, split in zip(last_names, splits, strict=True)
    ]
