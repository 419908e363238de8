"""A conversation of which the messages alone are fused, under the alignments `first` and `longest`, by transformers and
a projector written in PyTorch: option scores that the daemons must reproduce.

As the public code does it: both models read padded ids, section by section, with positions that count every slot and an
attention mask that is 0 at pads. (What it does once it decodes, with pads in sight, is not done here.)
"""

import copy
import dataclasses
import itertools
import pathlib

import torch
from transformers import DynamicCache

from embedded_fusion import HALVES, model_of, projectors_of
from fuser_fixtures import aggregate
from text_alignment import Side, align_chat


@dataclasses.dataclass
class Reader:
    """A model that reads its side of an aligned conversation."""

    model: torch.nn.Module
    ids: list[int]
    pads: list[bool]
    cache: DynamicCache = dataclasses.field(default_factory=DynamicCache)

    def read(self, begin: int, end: int) -> torch.Tensor:
        """Logits of the slots [begin, end), on top of the cache of those before."""
        return self.model(
            torch.tensor([self.ids[begin:end]]),
            attention_mask=torch.tensor([[int(not pad) for pad in self.pads[:end]]]),
            position_ids=torch.arange(begin, end)[None],
            past_key_values=self.cache,
        ).logits[0]

    def halves(self, layer: int) -> dict[str, torch.Tensor]:
        return dict(
            zip(
                HALVES,
                (self.cache.layers[layer].keys, self.cache.layers[layer].values),
                strict=True,
            )
        )

    def score(self, begin: int, option: list[int]) -> float:
        """Mean log-probability of the option's tokens, behind the slots from `begin` on."""
        pads = self.pads + [False] * len(option)
        whole = Reader(self.model, self.ids + option, pads, copy.deepcopy(self.cache))
        logits = whole.read(begin, len(whole.ids))[-len(option) - 1 : -1]
        return (
            logits.double().log_softmax(-1).gather(1, torch.tensor(option)[:, None]).mean().item()
        )


def sections(is_message: list[bool]) -> list[tuple[int, int, bool]]:
    end, runs = 0, []
    for kind, run in itertools.groupby(is_message):
        begin, end = end, end + len(list(run))
        runs.append((begin, end, kind))
    return runs


def fuse(own: Reader, other: Reader, fuser: pathlib.Path, begin: int, end: int) -> None:
    for layer, (source, depth, state) in enumerate(projectors_of(fuser)):
        for half in HALVES:
            read = other.halves(source)[half][:, :, begin:end]
            target = own.halves(layer)[half]
            target[:, :, begin:end] = aggregate(state, half, depth, read, target[:, :, begin:end])


@torch.no_grad()
def option_scores(
    pair: tuple[pathlib.Path, pathlib.Path],
    fuser: pathlib.Path,
    strategy: str,
    messages: list[dict],
    reply_prefix: str,
    options: list[str],
) -> list[float]:
    """`pair` is the receiver's folder and the sharer's."""
    receiver, sharer = map(Side, pair)
    chat = align_chat(receiver, sharer, messages, strategy, reply_prefix)
    own = Reader(model_of(pair[0]), chat["receiver_ids"], chat["receiver_pad"])
    other = Reader(model_of(pair[1]), chat["sharer_ids"], chat["sharer_pad"])
    *read, (last, _, _) = sections(chat["message"])
    for begin, end, is_message in read:
        own.read(begin, end)
        other.read(begin, end)
        if is_message:
            fuse(own, other, fuser, begin, end)
    return [own.score(last, receiver.encode(option)) for option in options]
