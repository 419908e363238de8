#!/usr/bin/env python3
"""A second, independent implementation of the Cache-to-Cache fuser: what common/fuser must reproduce.

Usage: fuser_fixtures.py OUTPUT_FOLDER

Writes for each case a checkpoint folder in the published layout and expected.safetensors:

  sharer_keys.S, sharer_values.S [B, Hs, T, Ds]      the sharer's cache at the receiver's slots
  receiver_keys.R, receiver_values.R [B, Ht, T, Dt]
  selected [B, T]                                    tokens whose sharer cache was sent
  fused_keys.R, fused_values.R [B, Ht, T, Dt]        all tokens fused
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import save_file

BATCH, TOKENS = 3, 11

# Heads, head sizes and depths differ so that a mixed-up axis cannot go unseen. A gate of exactly 0 is
# closed; the other closed gates are negative.
CASES = {
    "fp32_three_blocks": dict(
        dtype="float32",
        num_layers=3,
        receiver=(3, 2, 16),
        sharer=(5, 3, 8),
        layer_map=[2, 3, 4],
        gates=[(0.3, 0.1), (2.0, -1.0), (0.0, 0.5)],
    ),
    "fp32_four_blocks": dict(
        dtype="float32",
        num_layers=4,
        receiver=(4, 4, 8),
        sharer=(2, 2, 32),
        layer_map=[0, 0, 0, 1],
        gates=[(1.0, 1.0), (0.2, 0.2), (-0.1, 3.0), (0.01, 0.01)],
    ),
    "bf16_three_blocks": dict(
        dtype="bfloat16",
        num_layers=3,
        receiver=(4, 2, 32),
        sharer=(5, 2, 32),
        layer_map=[1, 2, 3, 4],
        gates=[(0.5, 0.5), (0.25, -0.25), (0.0, 1.0), (1.0, 0.0)],
    ),
    "bf16_four_blocks": dict(
        dtype="bfloat16",
        num_layers=4,
        receiver=(2, 2, 64),
        sharer=(3, 4, 16),
        layer_map=[1, 2],
        gates=[(0.5, 0.5), (2.0, 2.0)],
    ),
}
HIDDEN, INTERMEDIATE = 48, 80


def rms_norm(x, weight):
    """torch 2.6: the normalised value is rounded, then multiplied and rounded again."""
    wide = x.float()
    return (wide * torch.rsqrt((wide * wide).mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * weight


def linear(state, name, x):
    bias = state.get(name + ".bias")
    return torch.nn.functional.linear(x, state[name + ".weight"], bias)


def block(state, name, x):
    inner = torch.nn.functional.gelu(
        linear(state, name + ".w1", rms_norm(x, state[name + ".norm.weight"]))
    )
    return x + linear(state, name + ".w2", inner)


def fuse_half(state, half, blocks, source, target):
    """source [B, Hs, N, Ds], target [B, Ht, N, Dt] -> what the cache holds afterwards."""
    batch, heads, tokens, size = target.shape
    flat = [x.transpose(1, 2).reshape(batch, tokens, -1) for x in (source, target)]
    hidden = linear(state, half + "_in", torch.cat(flat, -1))
    hidden = block(state, half + "_mlp1.blocks.0", hidden)
    value = hidden
    for index in range(blocks - 2):
        value = block(state, f"{half}_proj_mlp2.blocks.{index}", value)
    value = linear(state, half + "_proj_out", value)
    value = value.view(batch, tokens, heads, size).transpose(1, 2)
    scalar = linear(
        state, half + "_scalar_head", block(state, half + "_scalar_mlp2.blocks.0", hidden)
    )
    weight = torch.sigmoid(scalar).permute(0, 2, 1).unsqueeze(-1)
    gate = (state[half + "_gate_logit"] > 0).float().view(1, 1, 1, 1)  # fp32: promotes the sum
    return (target + gate * weight * value).to(target.dtype)


def shapes(case):
    _, hs, ds = case["sharer"]
    _, ht, dt = case["receiver"]
    h, i = HIDDEN, INTERMEDIATE
    out = {}

    def add_block(name, inner):
        out[name + ".norm.weight"] = (h,)
        out[name + ".w1.weight"] = (inner, h)
        out[name + ".w2.weight"] = (h, inner)

    for half in ("key", "value"):
        out[half + "_in.weight"], out[half + "_in.bias"] = (h, hs * ds + ht * dt), (h,)
        add_block(half + "_mlp1.blocks.0", i)
        add_block(half + "_scalar_mlp2.blocks.0", h)
        out[half + "_scalar_head.weight"], out[half + "_scalar_head.bias"] = (ht, h), (ht,)
        for index in range(case["num_layers"] - 2):
            add_block(f"{half}_proj_mlp2.blocks.{index}", i)
        out[half + "_proj_out.weight"], out[half + "_proj_out.bias"] = (ht * dt, h), (ht * dt,)
    return out


def projector_state(case, gates, dtype, generator):
    state = {}
    for name, shape in shapes(case).items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith("norm.weight"):
            state[name] = 1 + 0.2 * noise
        else:
            state[name] = noise * (1.5 / shape[-1] ** 0.5 if len(shape) == 2 else 0.3)
    state["key_gate_logit"], state["value_gate_logit"] = map(torch.tensor, gates)
    state["gate_temperature"] = torch.tensor(0.001)
    return {name: tensor.to(dtype) for name, tensor in state.items()}


def init_args(case):
    return dict(
        source_dim=case["sharer"][2],
        target_dim=case["receiver"][2],
        source_num_heads=case["sharer"][1],
        target_num_heads=case["receiver"][1],
        intermediate_dim=INTERMEDIATE,
        hidden_dim=HIDDEN,
        num_layers=case["num_layers"],
        dropout=0.1,
        initial_temperature=1.0,
        final_temperature=0.001,
        anneal_steps=1929,
        dtype={"__type__": "torch.dtype", "value": case["dtype"]},
    )


def random_cache(layout, dtype, generator):
    layers, heads, size = layout
    return [
        torch.randn(BATCH, heads, TOKENS, size, generator=generator).to(dtype)
        for _ in range(layers)
    ]


def write_case(folder, case, generator):
    dtype = getattr(torch, case["dtype"])
    final = folder / "final"
    final.mkdir(parents=True, exist_ok=True)
    caches = {
        f"{model}_{half}s": random_cache(case[model], dtype, generator)
        for model in ("sharer", "receiver")
        for half in ("key", "value")
    }
    tensors = {f"{name}.{i}": x for name, layers in caches.items() for i, x in enumerate(layers)}
    tensors["selected"] = torch.rand(BATCH, TOKENS, generator=generator) < 0.6
    for layer, gates in enumerate(case["gates"]):
        state = projector_state(case, gates, dtype, generator)
        save_file(state, final / f"projector_{layer}.safetensors")
        text = json.dumps({"class": "C2CProjector", "init_args": init_args(case)})
        (final / f"projector_{layer}.json").write_text(text)
        for half in ("key", "value"):
            tensors[f"fused_{half}s.{layer}"] = fuse_half(
                state,
                half,
                case["num_layers"],
                caches[f"sharer_{half}s"][case["layer_map"][layer]],
                caches[f"receiver_{half}s"][layer],
            ).contiguous()
    mapping = {str(t): [[s, t]] for t, s in enumerate(case["layer_map"])}
    (final / "projector_config.json").write_text(json.dumps({"0": {"1": mapping}}))
    save_file(tensors, folder / "expected.safetensors")


def main():
    root = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)  # tiny tensors: threads only wait for each other
    for seed, (name, case) in enumerate(CASES.items()):
        with torch.no_grad():
            write_case(root / name, case, torch.Generator().manual_seed(seed))


if __name__ == "__main__":
    main()
