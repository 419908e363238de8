#!/usr/bin/env python3
"""A second, independent implementation of the Cache-to-Cache fuser: what common/fuser must reproduce.

Usage: fuser_fixtures.py OUTPUT_FOLDER

Writes for each case a checkpoint folder in the published layout and expected.safetensors:

  sharer_keys.S, sharer_values.S [B, Hs, T, Ds]      the sharer's cache at the receiver's slots
  receiver_keys.R, receiver_values.R [B, Ht, T, Dt]
  selected [B, T]                                    tokens whose sharer cache was sent
  fused_keys.R, fused_values.R [B, Ht, T, Dt]        all tokens fused
  exact_keys.R, exact_values.R                       the same from the same values without rounding (fp64)

and for several sharers N of one receiver a checkpoint folder each, and in expected.safetensors

  N.keys.S, N.values.S                               of sharer N
  receiver_keys.R, receiver_values.R
  sequential_keys.R ..., parallel_keys.R ...         fused in either order
"""

import functools
import json
import pathlib
import sys
from collections import OrderedDict

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
    # As torch.save writes it, fp32 where the model is bf16: the reference rounds the weights to the
    # model's dtype first. Layer t's projector is another's file, and pairs behind the first one are
    # of no account.
    "pt_of_fp32_in_bf16": dict(
        dtype="bfloat16",
        file_dtype="float32",
        file_format="pt",
        num_layers=3,
        receiver=(3, 4, 16),
        sharer=(4, 1, 48),
        layer_map=[3, 0, 2],
        projectors=[2, 0, 5],
        other_pairs=[[], [[1, 2], [3, 4]], [[0, 1]]],
        gates=[(0.5, -0.5), (1e-30, 2.0), (0.0, 0.1)],
    ),
    "pt_of_fp16_in_fp32": dict(
        dtype="float32",
        file_dtype="float16",
        file_format="pt",
        num_layers=4,
        receiver=(2, 2, 16),
        sharer=(2, 2, 16),
        layer_map=[0, 1],
        projectors=[1, 0],
        gates=[(0.5, 0.0), (-0.001, 0.001)],
    ),
    # One projector for two layers; arguments that equal the class's defaults are not written.
    "pt_bf16_shared": dict(
        dtype="bfloat16",
        file_format="pt",
        num_layers=3,
        receiver=(3, 1, 32),
        sharer=(1, 1, 32),
        layer_map=[0, 0, 0],
        projectors=[0, 1, 0],
        gates=[(0.5, 0.5), (2.0, -2.0), (0.5, 0.5)],
    ),
}
HIDDEN, INTERMEDIATE = 48, 80


def rms_norm(x, weight):
    """torch 2.6: the normalised value is rounded, then multiplied and rounded again."""
    wide = x if x.dtype == torch.float64 else x.float()
    return (wide * torch.rsqrt((wide * wide).mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * weight


def linear(state, name, x):
    bias = state.get(name + ".bias")
    return torch.nn.functional.linear(x, state[name + ".weight"], bias)


def block(state, name, x):
    inner = torch.nn.functional.gelu(
        linear(state, name + ".w1", rms_norm(x, state[name + ".norm.weight"]))
    )
    return x + linear(state, name + ".w2", inner)


def aggregate(state, half, blocks, source, target):
    """source [B, Hs, N, Ds], target [B, Ht, N, Dt] -> what the projector returns, in fp32."""
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
    return target + gate * weight * value


def fuse_half(state, half, blocks, source, target):
    """What the cache holds afterwards."""
    return aggregate(state, half, blocks, source, target).to(target.dtype)


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


CLASS_DEFAULTS = dict(
    source_num_heads=1,
    target_num_heads=1,
    num_layers=3,
    dropout=0.1,
    initial_temperature=1.0,
    final_temperature=0.001,
    anneal_steps=1929,
)


def init_args(case):
    arguments = dict(
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
        dtype={"__type__": "torch.dtype", "value": case.get("file_dtype", case["dtype"])},
    )
    if case.get("file_format") == "pt":
        for name, default in CLASS_DEFAULTS.items():
            if arguments[name] == default:
                del arguments[name]
    return arguments


def save_projector(final, index, case, state):
    if case.get("file_format") == "pt":
        root = OrderedDict(state)
        root._metadata = OrderedDict({"": {"version": 1}, "key_in": {"version": 1}})
        torch.save(root, final / f"projector_{index}.pt")
    else:
        save_file(state, final / f"projector_{index}.safetensors")
    text = json.dumps({"class": "C2CProjector", "init_args": init_args(case)})
    (final / f"projector_{index}.json").write_text(text)


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
    projectors = case.get("projectors", range(len(case["layer_map"])))
    states = {}
    for layer, gates in enumerate(case["gates"]):
        index = projectors[layer]
        if index not in states:
            file_dtype = getattr(torch, case.get("file_dtype", case["dtype"]))
            states[index] = projector_state(case, gates, file_dtype, generator)
            save_projector(final, index, case, states[index])
        state = {name: tensor.to(dtype) for name, tensor in states[index].items()}
        exact_state = {name: tensor.double() for name, tensor in state.items()}
        for half in ("key", "value"):
            source = caches[f"sharer_{half}s"][case["layer_map"][layer]]
            own = caches[f"receiver_{half}s"][layer]
            blocks = case["num_layers"]
            tensors[f"fused_{half}s.{layer}"] = fuse_half(
                state, half, blocks, source, own
            ).contiguous()
            tensors[f"exact_{half}s.{layer}"] = aggregate(
                exact_state, half, blocks, source.double(), own.double()
            ).contiguous()
    mapping = {}
    for layer, source in enumerate(case["layer_map"]):
        others = case["other_pairs"][layer] if "other_pairs" in case else []
        mapping[str(layer)] = [[source, projectors[layer]], *others]
        for _, index in others:
            if index not in states:  # of no account, but there
                save_projector(final, index, case, {"key_gate_logit": torch.tensor(9.0)})
    (final / "projector_config.json").write_text(json.dumps({"0": {"1": mapping}}))
    (final / "aggregator_config.json").write_text("{}")
    save_file(tensors, folder / "expected.safetensors")


# Two sharers of one receiver. Where the first one's gate is closed the second one's is open, and the
# other way round; in layer 1 both are open.
SEVERAL = {
    "several_fp32": "float32",
    "several_bf16": "bfloat16",
}
SEVERAL_RECEIVER = (3, 2, 16)
SEVERAL_SHARERS = [
    dict(
        receiver=SEVERAL_RECEIVER,
        sharer=(4, 3, 8),
        num_layers=3,
        layer_map=[1, 2, 3],
        gates=[(1.0, -1.0), (0.5, 0.5), (-1.0, 2.0)],
    ),
    dict(
        receiver=SEVERAL_RECEIVER,
        sharer=(2, 1, 24),
        num_layers=4,
        layer_map=[0, 0, 1],
        gates=[(-1.0, 1.0), (0.5, 0.5), (-1.0, 2.0)],
    ),
]


def write_several(folder, dtype_name, generator):
    dtype = getattr(torch, dtype_name)
    receiver = {half: random_cache(SEVERAL_RECEIVER, dtype, generator) for half in ("key", "value")}
    sequential = {half: list(layers) for half, layers in receiver.items()}
    total = {half: [0.0] * len(layers) for half, layers in receiver.items()}
    tensors = {}
    for number, sharer in enumerate(SEVERAL_SHARERS):
        case = dict(sharer, dtype=dtype_name)
        final = folder / str(number) / "final"
        final.mkdir(parents=True, exist_ok=True)
        caches = {half: random_cache(case["sharer"], dtype, generator) for half in receiver}
        for half, layers in caches.items():
            tensors.update({f"{number}.{half}s.{i}": x for i, x in enumerate(layers)})
        mapping = {str(t): [[s, t]] for t, s in enumerate(case["layer_map"])}
        (final / "projector_config.json").write_text(json.dumps({"0": {"1": mapping}}))
        for layer, gates in enumerate(case["gates"]):
            state = projector_state(case, gates, dtype, generator)
            save_projector(final, layer, case, state)
            for half, layers in caches.items():
                source = layers[case["layer_map"][layer]]
                own = receiver[half][layer]
                fuse = functools.partial(aggregate, state, half, case["num_layers"], source)
                sequential[half][layer] = fuse(sequential[half][layer]).to(dtype)
                total[half][layer] = total[half][layer] + (fuse(own) - own)
    for half, layers in receiver.items():
        for i, own in enumerate(layers):
            tensors[f"receiver_{half}s.{i}"] = own
            tensors[f"sequential_{half}s.{i}"] = sequential[half][i].contiguous()
            tensors[f"parallel_{half}s.{i}"] = (own + total[half][i]).to(dtype).contiguous()
    save_file(tensors, folder / "expected.safetensors")


def main():
    root = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)  # tiny tensors: threads only wait for each other
    for seed, (name, case) in enumerate(CASES.items()):
        with torch.no_grad():
            write_case(root / name, case, torch.Generator().manual_seed(seed))
    for seed, (name, dtype) in enumerate(SEVERAL.items()):
        with torch.no_grad():
            write_several(root / name, dtype, torch.Generator().manual_seed(100 + seed))


if __name__ == "__main__":
    main()
