#!/usr/bin/env python3
"""Real models, run by transformers in fp32: what common/model must reproduce on them.

Usage: real_model_fixtures.py OUTPUT_FOLDER

$QC2C_MODELS names a folder of Hugging Face folders; each of MODELS that is in it gets
OUTPUT_FOLDER/NAME.safetensors, for a ragged right-padded batch of text and code:

  ids [B, T], lengths [B]
  keys.L, values.L [B, H, T, D]           the cache of layer L; padding positions are meaningless
  last_logits [B, V]                      of each row's last token
  greedy [B, 16], greedy_margin [B, 16]   as in model_fixtures.py
"""

import os
import pathlib
import sys

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, DynamicCache

from model_fixtures import greedy, save

# How many tokens the longest row has: for Gemma, more than its window of 512.
MODELS = {
    "SmolLM2-135M-Instruct": 96,
    "gemma-3-270m": 560,
    "Qwen2.5-Coder-0.5B-Instruct": 96,
    "Qwen2.5-Coder-1.5B-Instruct": 96,
}
TEXTS = [
    pathlib.Path(__file__).read_text(),
    "The capital of France is",
    "def fibonacci(n):\n    if n < 2:\n        return n\n",
]


def draw_batch(folder, longest):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = [torch.tensor(tokenizer.encode(text).ids[:longest]) for text in TEXTS]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return {"ids": ids, "lengths": torch.tensor([len(row) for row in rows])}


def expected(model, batch):
    ids, lengths = batch["ids"], batch["lengths"]
    mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
    cache = DynamicCache()  # made without the configuration: it keeps what lies before a window
    hidden = model.model(ids, attention_mask=mask, past_key_values=cache).last_hidden_state
    answers = [
        greedy(model, row[:n].tolist()) for row, n in zip(ids, lengths.tolist(), strict=True)
    ]
    tensors = {
        "last_logits": model.lm_head(hidden[torch.arange(len(ids)), lengths - 1]),
        "greedy": torch.tensor([tokens for tokens, _ in answers]),
        "greedy_margin": torch.tensor([margins for _, margins in answers]),
    }
    for index, layer in enumerate(cache.layers):
        tensors[f"keys.{index}"] = layer.keys
        tensors[f"values.{index}"] = layer.values
    return tensors


@torch.no_grad()
def main():
    if "QC2C_MODELS" not in os.environ:
        print("skipped: QC2C_MODELS does not name a folder of models")
        return
    models, output = pathlib.Path(os.environ["QC2C_MODELS"]), pathlib.Path(sys.argv[1])
    output.mkdir(parents=True, exist_ok=True)
    for name, longest in MODELS.items():
        folder, path = models / name, output / f"{name}.safetensors"
        if not folder.is_dir():
            print(f"skipped: {folder} is not there")
            continue
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        batch = draw_batch(folder, longest)
        save({**batch, **expected(model, batch)}, path)
        print(name, sum(p.numel() for p in model.parameters()))


if __name__ == "__main__":
    main()
