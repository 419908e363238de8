#!/usr/bin/env python3
"""Writes a pair of the published shapes with random weights: what it costs to serve, not what it answers.

Usage: random_pair.py TOKENIZER OUT [--seed N]

TOKENIZER is a model folder with a Qwen2.5 tokenizer (151,936 ids). OUT gets receiver/ (the shape of
Qwen3-0.6B), sharer/ (Qwen2.5-0.5B) and fuser/ (28 projectors of width 1,024, every gate open), all bf16, about
3.2 GB. Shapes are those of the models' published config.json.
"""

import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file

RECEIVER = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 40960,
}
SHARER = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
}
COMMON = {
    "vocab_size": 151936,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": True,
    "attention_dropout": 0.0,
    "torch_dtype": "bfloat16",
}
WIDTH = 1024


def model_shapes(config):
    """Shapes by Hugging Face name; one-dimensional weights are norms, biases are marked by their name."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    size = config.get("head_dim", hidden // heads)
    shapes = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        attention = prefix + "self_attn."
        shapes[prefix + "input_layernorm.weight"] = (hidden,)
        shapes[prefix + "post_attention_layernorm.weight"] = (hidden,)
        for name, count in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
            shapes[f"{attention}{name}_proj.weight"] = (count * size, hidden)
            if config["model_type"] == "qwen2":
                shapes[f"{attention}{name}_proj.bias"] = (count * size,)
        if config["model_type"] == "qwen3":
            shapes[attention + "q_norm.weight"] = shapes[attention + "k_norm.weight"] = (size,)
        shapes[attention + "o_proj.weight"] = (hidden, heads * size)
        shapes[prefix + "mlp.gate_proj.weight"] = (inner, hidden)
        shapes[prefix + "mlp.up_proj.weight"] = (inner, hidden)
        shapes[prefix + "mlp.down_proj.weight"] = (hidden, inner)
    return shapes


def random_tensor(name, shape, generator, device):
    if name.endswith("norm.weight"):
        return torch.ones(shape, dtype=torch.bfloat16)
    spread = 0.02 if len(shape) == 2 else 0.1
    return (torch.randn(shape, generator=generator, device=device) * spread).bfloat16().cpu()


def kv_size(config):
    return config["num_key_value_heads"], config.get(
        "head_dim", config["hidden_size"] // config["num_attention_heads"]
    )


def projector_shapes():
    (sharer_heads, sharer_dim), (heads, dim) = kv_size(SHARER), kv_size(RECEIVER)
    shapes = {}
    for half in ("key", "value"):
        shapes[half + "_in.weight"] = (WIDTH, sharer_heads * sharer_dim + heads * dim)
        shapes[half + "_in.bias"] = (WIDTH,)
        for block in ("mlp1.blocks.0", "scalar_mlp2.blocks.0", "proj_mlp2.blocks.0"):
            shapes[f"{half}_{block}.norm.weight"] = (WIDTH,)
            shapes[f"{half}_{block}.w1.weight"] = shapes[f"{half}_{block}.w2.weight"] = (
                WIDTH,
                WIDTH,
            )
        shapes[half + "_scalar_head.weight"], shapes[half + "_scalar_head.bias"] = (
            (heads, WIDTH),
            (heads,),
        )
        shapes[half + "_proj_out.weight"], shapes[half + "_proj_out.bias"] = (
            (heads * dim, WIDTH),
            (heads * dim,),
        )
    return shapes


def write_model(folder, config, tokenizer, generator, device):
    config = config | COMMON
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(tokenizer / name, folder / name)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    shapes = model_shapes(config)
    save_file(
        {name: random_tensor(name, shape, generator, device) for name, shape in shapes.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )


def write_fuser(folder, generator, device):
    final = folder / "final"
    final.mkdir(parents=True)
    (sharer_heads, sharer_dim), (heads, dim) = kv_size(SHARER), kv_size(RECEIVER)
    arguments = {
        "source_dim": sharer_dim,
        "target_dim": dim,
        "source_num_heads": sharer_heads,
        "target_num_heads": heads,
        "intermediate_dim": WIDTH,
        "hidden_dim": WIDTH,
        "num_layers": 3,
        "dtype": {"__type__": "torch.dtype", "value": "bfloat16"},
    }
    layers, sharer_layers = RECEIVER["num_hidden_layers"], SHARER["num_hidden_layers"]
    mapping = {}
    for layer in range(layers):
        # last_aligned: the last layers of both belong together; what is left over reads the first.
        mapping[str(layer)] = [[max(0, layer - layers + sharer_layers), layer]]
        state = {
            name: random_tensor(name, shape, generator, device)
            for name, shape in projector_shapes().items()
        }
        for name in ("key_gate_logit", "value_gate_logit"):
            state[name] = torch.tensor(1.0, dtype=torch.bfloat16)
        state["gate_temperature"] = torch.tensor(0.001, dtype=torch.bfloat16)
        save_file(state, final / f"projector_{layer}.safetensors")
        (final / f"projector_{layer}.json").write_text(
            json.dumps({"class": "C2CProjector", "init_args": arguments}, indent=2) + "\n"
        )
    (final / "projector_config.json").write_text(json.dumps({"0": {"1": mapping}}) + "\n")
    model = {"is_do_alignment": False, "mapping": "last_aligned"}
    (folder / "config.json").write_text(json.dumps({"model": model}, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizer", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator(device).manual_seed(arguments.seed)
    write_model(arguments.out / "receiver", RECEIVER, arguments.tokenizer, generator, device)
    write_model(arguments.out / "sharer", SHARER, arguments.tokenizer, generator, device)
    write_fuser(arguments.out / "fuser", generator, device)


if __name__ == "__main__":
    main()
