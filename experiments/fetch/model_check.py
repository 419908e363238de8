"""Prints how well a model folder does what a language model does, computed by transformers.

usage: model_check.py FOLDER...

For each folder: the mean negative log-likelihood a token and the perplexity of a fixed English text,
and a greedy completion of its first words. A conversion that is wrong in any layer shows at once:
perplexity rises from tens to thousands and the completion is no language.
"""

import math
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXT = (
    "The water cycle describes how water moves around the Earth. The sun heats the oceans, and some "
    "of the water evaporates into the air. As the warm air rises it cools, and the vapor condenses "
    "into tiny drops that form clouds. When the drops become heavy enough they fall as rain or snow. "
    "Some of that water soaks into the ground, where plants take it up through their roots; the rest "
    "runs into streams and rivers, which carry it back to the sea."
)
PROMPT = "The capital of France is Paris. It is known for"
NEW_TOKENS = 24


def check(folder: Path) -> tuple[float, str]:
    """Mean negative log-likelihood of TEXT in nats a token, and the completion of PROMPT."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = tokenizer(TEXT, return_tensors="pt").input_ids
    prompt = tokenizer(PROMPT, return_tensors="pt").input_ids
    with torch.inference_mode():
        loss = model(ids, labels=ids).loss.item()
        out = model.generate(prompt, max_new_tokens=NEW_TOKENS, do_sample=False)
    return loss, tokenizer.decode(out[0], skip_special_tokens=True)


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 64
    for folder in map(Path, sys.argv[1:]):
        loss, completion = check(folder)
        print(f"{folder.name}: {loss:.3f} nats a token, perplexity {math.exp(loss):.1f}")
        print(f"  {completion!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
