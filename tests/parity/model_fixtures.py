#!/usr/bin/env python3
"""Random models of each family, run by transformers: what common/model must reproduce.

Usage: model_fixtures.py OUTPUT_FOLDER

Writes a model folder a case (config.json, model.safetensors or its shards) and beside it
expected.safetensors, for a ragged right-padded batch:

  ids [B, T], lengths [B]                 the batch
  hidden [B, T, C], logits [B, T, V]      padding positions are meaningless
  keys.L, values.L [B, H, T, D]           the cache of layer L
  attention.L [B, T]                      what the last ATTENDING tokens of each row give to each
                                          token: summed over them, the mean over heads
  gapped_positions [B, T]                 positions that leave some out, of the same tokens with pads
  gapped_hidden, gapped_keys.L,           there, to which no attention goes: without the pads
  gapped_values.L, gapped_attention.L
  past_lengths [B]                        a split of each row: that many tokens are the cached part
  greedy [B, 16]                          tokens that follow each row, alone in its batch
  greedy_margin [B, 16]                   the gap between the best two logits of each step
  options [B, 3, 3], option_lengths [B, 3], option_logprobs [B, 3]

expected_bf16_sdpa.safetensors and expected_bf16_eager.safetensors have the same without the last
three lines and the gapped ones, from the two attention implementations of transformers: how far they are apart is what
bf16 leaves open.
"""

import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import (
    DynamicCache,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCAB = 512
STEPS = 16
ATTENDING = 5
PAD = 7  # any token: nothing attends to it
COMMON = dict(vocab_size=VOCAB, eos_token_id=2, bos_token_id=1)
# Each row's tokens, and how many of them the cached part of a continuation has.
ROWS = {"lengths": [23, 1, 17, 9], "past_lengths": [14, 0, 16, 5]}

# Head counts and head sizes of the models named, true rope and norms; few layers, narrow. Depths
# and widths differ so that a mixed-up axis cannot go unseen.
CASES = {
    # Qwen2.5-0.5B
    "qwen2_tied": (
        Qwen2ForCausalLM,
        Qwen2Config(
            hidden_size=112,
            intermediate_size=304,
            num_hidden_layers=4,
            rope_theta=1e6,
            num_attention_heads=14,
            num_key_value_heads=2,
            head_dim=64,
            max_position_embeddings=32768,
            tie_word_embeddings=True,
            **COMMON,
        ),
        {},
    ),
    # Qwen3-0.6B
    "qwen3_tied": (
        Qwen3ForCausalLM,
        Qwen3Config(
            hidden_size=64,
            intermediate_size=192,
            num_hidden_layers=5,
            rope_theta=1e6,
            num_attention_heads=16,
            num_key_value_heads=8,
            head_dim=128,
            max_position_embeddings=40960,
            tie_word_embeddings=True,
            **COMMON,
        ),
        {},
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
            max_position_embeddings=128,
            tie_word_embeddings=False,
            **COMMON,
        ),
        {},
    ),
    # TinyLlama-1.1B, in shards, as large models are
    "llama_untied": (
        LlamaForCausalLM,
        LlamaConfig(
            hidden_size=128,
            intermediate_size=344,
            num_hidden_layers=4,
            rope_theta=1e4,
            num_attention_heads=32,
            num_key_value_heads=4,
            head_dim=64,
            max_position_embeddings=2048,
            rms_norm_eps=1e-5,
            tie_word_embeddings=False,
            **COMMON,
        ),
        {"max_shard_size": "200KB"},
    ),
    # Llama-3.2-1B
    "llama3_rope": (
        LlamaForCausalLM,
        LlamaConfig(
            hidden_size=96,
            intermediate_size=200,
            num_hidden_layers=3,
            num_attention_heads=32,
            num_key_value_heads=8,
            head_dim=64,
            max_position_embeddings=131072,
            rms_norm_eps=1e-5,
            rope_parameters={
                "rope_type": "llama3",
                "rope_theta": 5e5,
                "factor": 32.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            },
            tie_word_embeddings=True,
            **COMMON,
        ),
        {},
    ),
    # SmolLM2-135M, its weights in a file of fp16
    "llama_fp16_file": (
        LlamaForCausalLM,
        LlamaConfig(
            hidden_size=72,
            intermediate_size=192,
            num_hidden_layers=4,
            rope_theta=1e5,
            num_attention_heads=9,
            num_key_value_heads=3,
            head_dim=64,
            max_position_embeddings=8192,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            **COMMON,
        ),
        {"dtype": torch.float16},
    ),
    # Gemma-3-270M and 1B with a window that the rows outgrow, some in the prompt and some later
    "gemma3": (
        Gemma3ForCausalLM,
        Gemma3TextConfig(
            hidden_size=80,
            intermediate_size=256,
            num_hidden_layers=7,
            num_attention_heads=4,
            num_key_value_heads=1,
            head_dim=256,
            max_position_embeddings=32768,
            sliding_window=12,
            query_pre_attn_scalar=256,
            **COMMON,
        ),
        {},
    ),
    # The window of the real models; scores that are not scaled by the head size
    "gemma3_window512": (
        Gemma3ForCausalLM,
        Gemma3TextConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=3,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=1024,
            sliding_window=512,
            query_pre_attn_scalar=24,
            **COMMON,
        ),
        {"lengths": [560, 1, 505, 40], "past_lengths": [530, 0, 490, 30]},
    ),
}


def randomise(model, generator):
    """Weights whose every tensor matters: norms away from 1, biases away from 0."""
    norm_centre = 0 if isinstance(model, Gemma3ForCausalLM) else 1  # Gemma applies 1 + weight
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("norm.weight"):
            parameter.copy_(norm_centre + 0.2 * noise)
        elif name.endswith("bias"):
            parameter.copy_(0.5 * noise)
        else:
            parameter.copy_(noise * (2.0 if "embed" in name else 1.5) / parameter.shape[-1] ** 0.5)


def log_probs(model, ids):
    return torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)


def greedy(model, ids):
    """Token by token on transformers' own cache, which drops what a window has left behind."""
    cache, inputs = DynamicCache(config=model.config), ids
    tokens, margins = [], []
    for _ in range(STEPS):
        logits = model(torch.tensor([inputs]), past_key_values=cache).logits[0, -1]
        best = torch.topk(logits, 2).values
        margins.append((best[0] - best[1]).item())
        tokens.append(int(torch.argmax(logits)))
        inputs = tokens[-1:]
    return tokens, margins


def draw_batch(rows, generator):
    tokens = [torch.randint(0, VOCAB, (n,), generator=generator) for n in rows["lengths"]]
    ids = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)
    return {
        "ids": ids,
        "lengths": torch.tensor(rows["lengths"]),
        "past_lengths": torch.tensor(rows["past_lengths"]),
        "options": torch.randint(0, VOCAB, (len(ids), 3, 3), generator=generator),
        "option_lengths": torch.tensor([[1, 2, 3]] * len(ids)),
    }


def prefill(model, batch):
    ids, lengths = batch["ids"], batch["lengths"]
    mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
    # A cache made without the configuration keeps what lies before the window.
    cache = DynamicCache()
    out = model(ids, attention_mask=mask, past_key_values=cache, output_hidden_states=True)
    tensors = {"lengths": lengths, "hidden": out.hidden_states[-1], "logits": out.logits}
    for index, layer in enumerate(cache.layers):
        tensors[f"keys.{index}"] = layer.keys
        tensors[f"values.{index}"] = layer.values
    return tensors


def attention(model, batch):
    """From the weights that eager attention returns. Here the model must be of that kind."""
    ids, lengths = batch["ids"], batch["lengths"]
    mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
    out = model(ids, attention_mask=mask, output_attentions=True)
    tensors = {}
    for index, weights in enumerate(out.attentions):  # [B, heads, T, T]
        of_tokens = weights.mean(dim=1)
        tensors[f"attention.{index}"] = torch.stack(
            [of_tokens[b, max(0, n - ATTENDING) : n].sum(dim=0) for b, n in enumerate(lengths)]
        )
    return tensors


def gapped(model, eager, batch):
    """Three pads in front of every fifth token, masked, and positions that count them."""
    ids, lengths = batch["ids"], batch["lengths"]
    order = torch.arange(ids.shape[1])
    positions = torch.stack([order + 3 * ((order + row) // 5) for row in range(len(ids))])
    width = int(positions.max()) + 1
    wide = torch.full((len(ids), width), PAD).scatter(1, positions, ids)
    is_token = (order[None] < lengths[:, None]).long()
    mask = torch.zeros_like(wide).scatter(1, positions, is_token)
    inputs = dict(attention_mask=mask, position_ids=torch.arange(width).expand_as(wide))

    def of_tokens(tensor, axis):
        rows = zip(tensor, positions, strict=True)
        return torch.stack([row.index_select(axis - 1, places) for row, places in rows])

    cache = DynamicCache()
    out = model(wide, past_key_values=cache, output_hidden_states=True, **inputs)
    hidden = of_tokens(out.hidden_states[-1], 1)
    tensors = {"gapped_positions": positions, "gapped_hidden": hidden}
    for index, layer in enumerate(cache.layers):
        tensors[f"gapped_keys.{index}"] = of_tokens(layer.keys, 2)
        tensors[f"gapped_values.{index}"] = of_tokens(layer.values, 2)
    for index, weights in enumerate(eager(wide, output_attentions=True, **inputs).attentions):
        between = of_tokens(of_tokens(weights.mean(dim=1), 1), 2)
        tensors[f"gapped_attention.{index}"] = torch.stack(
            [between[b, max(0, n - ATTENDING) : n].sum(dim=0) for b, n in enumerate(lengths)]
        )
    return tensors


def continuations(model, batch):
    rows = [
        row[:n].tolist() for row, n in zip(batch["ids"], batch["lengths"].tolist(), strict=True)
    ]
    answers = [greedy(model, tokens) for tokens in rows]
    totals = torch.zeros(len(rows), 3, dtype=torch.float64)
    for row, tokens in enumerate(rows):
        for option in range(3):
            chosen = batch["options"][row, option, : option + 1].tolist()
            table = log_probs(model, tokens + chosen)
            for step, token in enumerate(chosen):
                totals[row, option] += table[len(tokens) + step - 1, token]
    return {
        "greedy": torch.tensor([tokens for tokens, _ in answers]),
        "greedy_margin": torch.tensor([margins for _, margins in answers]),
        "option_logprobs": totals,
    }


def save(tensors, path):
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def write_case(folder, seed, model_class, config, extras):
    generator = torch.Generator().manual_seed(seed)
    model = model_class(config)
    randomise(model, generator)
    model.to(extras.get("dtype", torch.float32)).save_pretrained(
        folder, max_shard_size=extras.get("max_shard_size", "5GB")
    )
    batch = draw_batch(extras if "lengths" in extras else ROWS, generator)

    # Loaded, not converted by .to(), which would round the rotary frequencies as well.
    def load(dtype, kind):
        return model_class.from_pretrained(folder, dtype=dtype, attn_implementation=kind).eval()

    model, eager = load(torch.float32, "sdpa"), load(torch.float32, "eager")
    save(
        {
            **batch,
            **prefill(model, batch),
            **attention(eager, batch),
            **gapped(model, eager, batch),
            **continuations(model, batch),
        },
        folder / "expected.safetensors",
    )
    for kind in ("sdpa", "eager"):
        save(
            prefill(load(torch.bfloat16, kind), batch),
            folder / f"expected_bf16_{kind}.safetensors",
        )
    print(folder.name, sum(p.numel() for p in model.parameters()))


@torch.no_grad()
def main():
    root = pathlib.Path(sys.argv[1])
    source = pathlib.Path(__file__).read_bytes()
    stamp = root / "made_by"
    if stamp.is_file() and stamp.read_bytes() == source:
        return
    torch.set_num_threads(1)  # tiny tensors: threads only wait for each other
    for seed, (name, (model_class, config, extras)) in enumerate(CASES.items()):
        write_case(root / name, seed, model_class, config, extras)
    stamp.write_bytes(source)


if __name__ == "__main__":
    main()
