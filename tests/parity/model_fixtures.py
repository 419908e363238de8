#!/usr/bin/env python3
"""Random models of each family, run by transformers: what common/model must reproduce.

Usage: model_fixtures.py OUTPUT_FOLDER

Writes a model folder a family (config.json, model.safetensors or its shards) and beside it
expected.safetensors, for a ragged right-padded batch:

  ids [B, T], lengths [B]                 the batch
  hidden [B, T, C], logits [B, T, V]      padding positions are meaningless
  keys.L, values.L [B, H, T, D]           the cache of layer L
  past_lengths [B]                        a split of each row: that many tokens are the cached part
  greedy [B, 16]                          tokens that follow each row, alone in its batch
  greedy_margin [B, 16]                   the gap between the best two logits of each step
  options [B, 3, 3], option_lengths [B, 3], option_logprobs [B, 3]
"""

import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCAB = 512
LENGTHS = [23, 1, 17, 9]
PAST_LENGTHS = [14, 0, 16, 5]
STEPS = 16
COMMON = dict(vocab_size=VOCAB, max_position_embeddings=128, eos_token_id=2, bos_token_id=1)
# Head counts, head sizes and depths differ so that a mixed-up axis cannot go unseen.
CASES = {
    "qwen2_tied": (
        Qwen2ForCausalLM,
        Qwen2Config(
            hidden_size=112,
            intermediate_size=304,
            num_hidden_layers=4,
            rope_theta=1e6,
            num_attention_heads=14,
            num_key_value_heads=2,
            tie_word_embeddings=True,
            **COMMON,
        ),
    ),
    "qwen3_tied": (
        Qwen3ForCausalLM,
        Qwen3Config(
            hidden_size=64,
            intermediate_size=192,
            num_hidden_layers=5,
            rope_theta=1e6,
            num_attention_heads=8,
            num_key_value_heads=4,
            head_dim=32,
            tie_word_embeddings=True,
            **COMMON,
        ),
    ),
    "qwen3_untied": (
        Qwen3ForCausalLM,
        Qwen3Config(
            hidden_size=96,
            intermediate_size=256,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=4,
            head_dim=16,
            tie_word_embeddings=False,
            **COMMON,
        ),
    ),
    "llama_untied": (
        LlamaForCausalLM,
        LlamaConfig(
            hidden_size=128,
            intermediate_size=344,
            num_hidden_layers=4,
            rope_theta=5e5,
            num_attention_heads=8,
            num_key_value_heads=2,
            rms_norm_eps=1e-5,
            tie_word_embeddings=False,
            **COMMON,
        ),
    ),
}


def randomise(model, generator):
    """Weights whose every tensor matters: norms away from 1, biases away from 0."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("norm.weight"):
            parameter.copy_(1 + 0.2 * noise)
        elif name.endswith("bias"):
            parameter.copy_(0.5 * noise)
        else:
            parameter.copy_(noise * (2.0 if "embed" in name else 1.5) / parameter.shape[-1] ** 0.5)


def log_probs(model, ids):
    return torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)


def greedy(model, ids):
    tokens, margins = list(ids), []
    for _ in range(STEPS):
        logits = model(torch.tensor([tokens])).logits[0, -1]
        best = torch.topk(logits, 2).values
        margins.append((best[0] - best[1]).item())
        tokens.append(int(torch.argmax(logits)))
    return tokens[len(ids) :], margins


def expected(model, dtype, generator):
    batch = len(LENGTHS)
    rows = [torch.randint(0, VOCAB, (n,), generator=generator).tolist() for n in LENGTHS]
    ids = torch.zeros(batch, max(LENGTHS), dtype=torch.int64)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
    lengths = torch.tensor(LENGTHS)
    mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
    out = model(ids, attention_mask=mask, use_cache=True, output_hidden_states=True)
    tensors = dict(
        ids=ids,
        lengths=lengths,
        past_lengths=torch.tensor(PAST_LENGTHS),
        hidden=out.hidden_states[-1],
        logits=out.logits,
    )
    for index, layer in enumerate(out.past_key_values.layers):
        tensors[f"keys.{index}"] = layer.keys
        tensors[f"values.{index}"] = layer.values
    if dtype == torch.float32:
        answers = [greedy(model, tokens) for tokens in rows]
        tensors["greedy"] = torch.tensor([tokens for tokens, _ in answers])
        tensors["greedy_margin"] = torch.tensor([margins for _, margins in answers])
        tensors["options"] = torch.randint(0, VOCAB, (batch, 3, 3), generator=generator)
        tensors["option_lengths"] = torch.tensor([[1, 2, 3]] * batch)
        totals = torch.zeros(batch, 3, dtype=torch.float64)
        for row, tokens in enumerate(rows):
            for option in range(3):
                chosen = tensors["options"][row, option, : option + 1].tolist()
                table = log_probs(model, tokens + chosen)
                for step, token in enumerate(chosen):
                    totals[row, option] += table[len(tokens) + step - 1, token]
        tensors["option_logprobs"] = totals
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def main():
    root = pathlib.Path(sys.argv[1])
    source = pathlib.Path(__file__).read_bytes()
    stamp = root / "made_by"
    if stamp.is_file() and stamp.read_bytes() == source:
        return
    torch.set_num_threads(1)  # tiny tensors: threads only wait for each other
    for seed, (name, (model_class, config)) in enumerate(CASES.items()):
        folder = root / name
        generator = torch.Generator().manual_seed(seed)
        model = model_class(config).eval()
        with torch.no_grad():
            randomise(model, generator)
            # One family comes in shards, as large models do.
            shard = "200KB" if name == "llama_untied" else "5GB"
            model.save_pretrained(folder, max_shard_size=shard)
            tokens = generator.get_state()
            save_file(expected(model, torch.float32, generator), folder / "expected.safetensors")
            generator.set_state(tokens)
            # Loaded, not converted by .to(), which would round the rotary frequencies as well.
            model = model_class.from_pretrained(folder, dtype=torch.bfloat16).eval()
            save_file(
                expected(model, torch.bfloat16, generator), folder / "expected_bf16.safetensors"
            )
        print(name, sum(p.numel() for p in model.parameters()))
    stamp.write_bytes(source)


if __name__ == "__main__":
    main()
