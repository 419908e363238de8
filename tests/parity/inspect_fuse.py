#!/usr/bin/env python3
"""Compares `qc2c inspect fuse` with transformers and a projector written in PyTorch from its description.

Usage: inspect_fuse.py QC2C FOLDER

Random models in FOLDER: a receiver of the Qwen3 kind, sharers of the Qwen2 and of the Llama kind, a fuser
for each pair as torch.save writes it. Ends with an error if a fused key, value or logit differs by more
than 1e-4.
"""

import json
import pathlib
import subprocess
import sys

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import (
    DynamicCache,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

BOUND = 1e-4
TOKENS = 29
COMMON = dict(max_position_embeddings=128, bos_token_id=1, eos_token_id=2)
RECEIVER = Qwen3Config(
    vocab_size=320,
    hidden_size=64,
    intermediate_size=160,
    num_hidden_layers=5,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    rope_theta=1e6,
    **COMMON,
)
SHARERS = {
    "qwen2": Qwen2Config(
        vocab_size=400,
        hidden_size=96,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=3,
        rope_theta=1e6,
        **COMMON,
    ),
    "llama": LlamaConfig(
        vocab_size=260,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=7,
        num_attention_heads=4,
        num_key_value_heads=1,
        **COMMON,
    ),
}
MODELS = {
    Qwen2Config: Qwen2ForCausalLM,
    Qwen3Config: Qwen3ForCausalLM,
    LlamaConfig: LlamaForCausalLM,
}
# Projector p of layer t is not t; both gates occur in both states.
PROJECTORS = [4, 1, 0, 2, 3]
GATES = {
    "qwen2": [(1.0, 1.0), (0.5, -0.5), (-1.0, 0.1), (0.0, 1.0), (2.0, 2.0)],
    "llama": [(-1.0, 1.0), (0.5, 0.5), (1.0, -0.1), (0.2, 0.2), (0.0, 0.0)],
}


class Block(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.w1 = nn.Linear(width, inner, bias=False)
        self.w2 = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        return x + self.w2(nn.functional.gelu(self.w1(self.norm(x))))


class Blocks(nn.Module):
    def __init__(self, count, width, inner):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, inner) for _ in range(count))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class Projector(nn.Module):
    """source [B, Hs, N, Ds], target [B, Ht, N, Dt]; keys and values have weights of their own."""

    def __init__(self, source_heads, source_dim, target_heads, target_dim, width, inner, blocks):
        super().__init__()
        self.heads = target_heads
        source, target = source_heads * source_dim, target_heads * target_dim
        self.key_gate_logit = nn.Parameter(torch.tensor(0.0))
        self.value_gate_logit = nn.Parameter(torch.tensor(0.0))
        self.register_buffer("gate_temperature", torch.tensor(0.001))
        for half in ("key", "value"):
            parts = {
                "in": nn.Linear(source + target, width),
                "mlp1": Blocks(1, width, inner),
                "scalar_mlp2": Blocks(1, width, width),
                "scalar_head": nn.Linear(width, target_heads),
                "proj_mlp2": Blocks(blocks - 2, width, inner),
                "proj_out": nn.Linear(width, target),
            }
            for name, module in parts.items():
                self.add_module(f"{half}_{name}", module)

    def forward(self, half, source, target):
        def part(name, x):
            return getattr(self, f"{half}_{name}")(x)

        merged = [x.transpose(1, 2).flatten(2) for x in (source, target)]
        hidden = part("mlp1", part("in", torch.cat(merged, -1)))
        value = part("proj_out", part("proj_mlp2", hidden)).unflatten(-1, (self.heads, -1))
        weight = torch.sigmoid(part("scalar_head", part("scalar_mlp2", hidden)))
        gate = float(getattr(self, f"{half}_gate_logit") > 0)
        return target + gate * weight.transpose(1, 2).unsqueeze(-1) * value.transpose(1, 2)


def layout(config):
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return config.num_key_value_heads, size


def make_model(folder, config):
    model = MODELS[type(config)](config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:  # ones and zeros would hide a mistake
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif "embed" in name or "lm_head" in name:
                parameter.mul_(20)
    model.save_pretrained(folder)
    return model


def make_fuser(folder, sharer, gates):
    """The folder that is published, and the projectors by receiver layer."""
    final = folder / "final"
    final.mkdir(parents=True, exist_ok=True)
    source_heads, source_dim = layout(sharer)
    target_heads, target_dim = layout(RECEIVER)
    layers = RECEIVER.num_hidden_layers
    offset = sharer.num_hidden_layers - layers
    mapping, projectors = {}, []
    for layer, (key_gate, value_gate) in enumerate(gates):
        source = min(max(offset + layer, 0), sharer.num_hidden_layers - 1)
        mapping[str(layer)] = [[source, PROJECTORS[layer]]]
        projector = Projector(source_heads, source_dim, target_heads, target_dim, 40, 56, 4).eval()
        with torch.no_grad():
            projector.key_gate_logit.fill_(key_gate)
            projector.value_gate_logit.fill_(value_gate)
        projectors.append((source, projector))
        stem = final / f"projector_{PROJECTORS[layer]}"
        torch.save(projector.state_dict(), stem.with_suffix(".pt"))
        arguments = dict(
            source_dim=source_dim,
            target_dim=target_dim,
            source_num_heads=source_heads,
            target_num_heads=target_heads,
            hidden_dim=40,
            intermediate_dim=56,
            num_layers=4,
            dtype={"__type__": "torch.dtype", "value": "float32"},
        )
        text = json.dumps({"class": "C2CProjector", "init_args": arguments})
        stem.with_suffix(".json").write_text(text)
    (final / "projector_config.json").write_text(json.dumps({"0": {"1": mapping}}))
    return projectors


def prefill(model, ids):
    cache = DynamicCache()
    model(torch.tensor([ids]), past_key_values=cache, use_cache=True)
    return {
        "key": [layer.keys for layer in cache.layers],
        "value": [layer.values for layer in cache.layers],
    }


def fuse(own, contributions, order):
    fused = {half: list(layers) for half, layers in own.items()}
    for sharer, projectors in contributions:
        for layer, (source, projector) in enumerate(projectors):
            for half in own:
                base = fused if order == "sequential" else own
                added = projector(half, sharer[half][source], base[half][layer]) - base[half][layer]
                fused[half][layer] = fused[half][layer] + added
    return fused


def expected(receiver, ids, fused):
    cache = DynamicCache()
    for layer, (key, value) in enumerate(zip(fused["key"], fused["value"], strict=True)):
        cache.update(key, value, layer)
    logits = receiver(
        torch.tensor([ids[-1:]]),
        past_key_values=cache,
        position_ids=torch.tensor([[len(ids) - 1]]),
        use_cache=True,
    ).logits
    tensors = {"logits": logits[0]}
    for layer, entry in enumerate(cache.layers):
        tensors[f"k.{layer}"] = entry.keys[0]
        tensors[f"v.{layer}"] = entry.values[0]
    return tensors


def compare(found, wanted, name):
    assert set(found) == set(wanted), f"{name}: {sorted(set(found) ^ set(wanted))}"
    worst = 0.0
    for key, tensor in wanted.items():
        assert found[key].shape == tensor.shape, f"{name}: {key} is {list(found[key].shape)}"
        worst = max(worst, (found[key] - tensor).abs().max().item())
    print(
        f"{name}: largest difference {worst:.2e} of {max(x.abs().max() for x in wanted.values()):.1f}"
    )
    assert worst <= BOUND, f"{name}: differs by {worst}, expected at most {BOUND}"


def check(qc2c, root, receiver, sharers, names, order):
    out = root / f"{'+'.join(names)}_{order}.safetensors"
    ids = json.loads((root / "receiver_ids.json").read_text())
    command = [qc2c, "inspect", "fuse", "--receiver", root / "receiver", "--order", order]
    command += ["--receiver-ids", root / "receiver_ids.json", "--dtype", "fp32", "--out", out]
    contributions = []
    for name in names:
        model, projectors, sharer_ids = sharers[name]
        command += ["--sharer", root / name, "--fuser", root / f"fuser_{name}"]
        command += ["--sharer-ids", root / f"{name}_ids.json"]
        contributions.append((prefill(model, sharer_ids[:-1]), projectors))
    subprocess.run(list(map(str, command)), check=True)
    own = prefill(receiver, ids[:-1])
    fused = fuse(own, contributions, order)
    assert any(not torch.equal(a, b) for a, b in zip(own["key"], fused["key"], strict=True))
    compare(load_file(out), expected(receiver, ids, fused), f"{' + '.join(names)}, {order}")


def main():
    qc2c, root = sys.argv[1], pathlib.Path(sys.argv[2])
    torch.manual_seed(0)
    torch.set_num_threads(1)
    root.mkdir(parents=True, exist_ok=True)
    receiver = make_model(root / "receiver", RECEIVER)
    ids = torch.randint(3, RECEIVER.vocab_size, (TOKENS,)).tolist()
    (root / "receiver_ids.json").write_text(json.dumps(ids))
    sharers = {}
    for name, config in SHARERS.items():
        sharer_ids = torch.randint(3, config.vocab_size, (TOKENS,)).tolist()
        (root / f"{name}_ids.json").write_text(json.dumps(sharer_ids))
        model = make_model(root / name, config)
        projectors = make_fuser(root / f"fuser_{name}", config, GATES[name])
        sharers[name] = (model, projectors, sharer_ids)
    with torch.no_grad():
        check(qc2c, root, receiver, sharers, ["qwen2"], "sequential")
        check(qc2c, root, receiver, sharers, ["llama"], "parallel")
        check(qc2c, root, receiver, sharers, ["qwen2", "llama"], "sequential")
        check(qc2c, root, receiver, sharers, ["qwen2", "llama"], "parallel")


if __name__ == "__main__":
    main()
