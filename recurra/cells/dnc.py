"""The Differentiable Neural Computer: a controller with a memory that allots its slots and remembers their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, sigmoid, softmax
from torch.nn.functional import softplus

from recurra.cells.addressing import allocation, content_weights, erase_and_add, links, retention, sharpen
from recurra.cells.memory_cell import MemoryCell
from recurra.checks import check_bool
from recurra.engine.contract import Cell, Source

__all__ = ["DNC"]

# the links of slots that were never written are zeros; the power of one has slopes of at most 1/floor
_LINK_FLOOR = 1e-6


class DNC(MemoryCell):
    """Differentiable Neural Computer, one time step.

        h, c' = controller([x; r_1; ..; r_R], c)             r: the words read at the step before
        k, β, e, v, f, g_a, g_w, π = Y h + b                 interface
        ψ = Π_r (1 - f_r w_r)                                retention; w_r the read weightings before
        u' = (u + w_w - u ⊙ w_w) ⊙ ψ                         usage; w_w the write weighting before
        a = allocation(u')                                   the free slots
        w_w' = g_w (g_a a + (1 - g_a) C(M, k_w, β_w))        write weighting; C: content addressing
        M' = M ⊙ (1 - w_w' eᵀ) + w_w' vᵀ                     memory; M ⊙ ψ 1ᵀ at its beginning, with `deallocation`
        L'(n, m) = (1 - w_w'(n) - w_w'(m)) L(n, m) + w_w'(n) p(m), L'(n, n) = 0
        p' = (1 - Σ w_w') p + w_w'                           precedence
        w_r' = π_1 L'ᵀ w_r + π_2 C(M', k_r, β_r) + π_3 L' w_r    read weightings: written before, content, after
        r' = M'ᵀ w_r'                                        words
        y = V [h; r'_1; ..; r'_R] + d                        output

    with β through oneplus(a) = 1 + log(1 + exp(a)), e, f and the gates g through σ, π through softmax. With
    `masked_content` C compares words under a mask m = σ(..) of each head; with `sharpen_links` L' w_r and L'ᵀ w_r are
    raised to a power oneplus(..) of each head and divided by their sum. With `bypass_dropout` the output sees h ⊙ z,
    z ~ Bernoulli(1 - p) / (1 - p), drawn for every unit and step, in training. Y and b are `interface`, V and d
    `output`.

    Shapes: x [B, I] -> output [B, O], state: memory [B, N, W], reads [B, R, W], read_weights [B, R, N], write_weights
        [B, 1, N], usage [B, N], precedence [B, N], links [B, N, N], then the fields of the controller's state, as
        controller_h.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, units of the controller.
        controller: the name of a cell, made with H units, or a cell that takes I + R W numbers.
        controller_options: keywords of a controller that is made by its name, as {"layer_norm": True} of "lstm".
        memory_size: N, slots of the memory.
        word_size: W, numbers in one slot.
        num_reads: R, heads that read.
        output_size: O, size of the output; H where not given.
        masked_content: each head chooses which numbers of a word it compares, and may leave out those it asks for.
        deallocation: what a free gate frees is erased from the memory, too, and cannot be found any more.
        sharpen_links: each head can sharpen its step to what was written next or before, which blurs otherwise.
        clip: limit of the numbers Y h + b, on both sides of 0; None for no limit.
        bypass_dropout: p, the probability that a unit of the controller is hidden from the output in training; the
            heads see all of them. What the controller knows by heart is no longer enough: the memory has to be read.

    Raises:
        ConfigError: a size cannot be, there are more heads than slots, or the controller does not fit.

    Source: Graves et al. 2016, "Hybrid computing using a neural network with dynamic external memory", Nature 538,
        Methods. Options: Csordás and Schmidhuber 2019, arXiv:1904.10278; bypass dropout Franke et al. 2018,
        arXiv:1807.02658.
    """

    own_fields = ("memory", "reads", "read_weights", "write_weights", "usage", "precedence", "links")
    source = Source(
        key="graves2016hybrid",
        authors="Graves, Alex and Wayne, Greg and Reynolds, Malcolm and Harley, Tim and Danihelka, Ivo and "
        "Grabska-Barwińska, Agnieszka and Gómez Colmenarejo, Sergio and Grefenstette, Edward and Ramalho, Tiago and "
        "Agapiou, John and Badia, Adrià Puigdomènech and Hermann, Karl Moritz and Zwols, Yori and Ostrovski, Georg and "
        "Cain, Adam and King, Helen and Summerfield, Christopher and Blunsom, Phil and Kavukcuoglu, Koray and "
        "Hassabis, Demis",
        title="Hybrid computing using a neural network with dynamic external memory",
        year=2016,
        venue="Nature 538, 471-476",
        url="https://doi.org/10.1038/nature20101",
        where="Methods",
    )

    earlier: Tensor
    apart: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        controller: str | Cell = "lstm",
        controller_options: Mapping[str, Any] | None = None,
        memory_size: int = 16,
        word_size: int = 16,
        num_reads: int = 1,
        output_size: int | None = None,
        masked_content: bool = False,
        deallocation: bool = False,
        sharpen_links: bool = False,
        clip: float | None = 20.0,
        bypass_dropout: float = 0.0,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            controller=controller,
            controller_options=controller_options,
            memory_size=memory_size,
            word_size=word_size,
            num_reads=num_reads,
            num_writes=1,
            output_size=output_size,
            clip=clip,
            bypass_dropout=bypass_dropout,
        )
        self.masked_content = check_bool("masked_content", masked_content)
        self.deallocation = check_bool("deallocation", deallocation)
        self.sharpen_links = check_bool("sharpen_links", sharpen_links)
        word, reads = (1, word_size), (num_reads, word_size)
        parts: dict[str, tuple[int, ...]] = {
            "read_keys": reads,
            "read_strengths": (num_reads,),
            "write_key": word,
            "write_strength": (1,),
            "erase": word,
            "write": word,
            "free_gates": (num_reads,),
            "allocation_gate": (1,),
            "write_gate": (1,),
            "modes": (num_reads, 3),
        }
        if masked_content:
            parts.update(read_masks=reads, write_mask=word)
        if sharpen_links:
            parts.update(backward_powers=(num_reads,), forward_powers=(num_reads,))
        self._connect(parts)
        square = torch.ones(memory_size, memory_size)
        self.register_buffer("earlier", square.tril(-1), persistent=False)
        self.register_buffer("apart", 1 - torch.eye(memory_size), persistent=False)

    def _start(self) -> dict[str, Tensor]:
        slots, words, reads = self.memory_size, self.word_size, self.num_reads
        shapes = [(slots, words), (reads, words), (reads, slots), (1, slots), (slots,), (slots,), (slots, slots)]
        return {name: self.apart.new_zeros(shape) for name, shape in zip(self.own_fields, shapes, strict=True)}

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One time step; the equations stand on the class."""
        h, controller, handed = self._control(x, state)
        kept = retention(state.read_weights, sigmoid(handed["free_gates"]))  # [B, N]
        usage = _used(state.usage, state.write_weights[:, 0], kept)
        write_weights = self._where_to_write(state.memory, usage, handed)  # [B, N]
        memory = state.memory * kept[..., None] if self.deallocation else state.memory
        memory = erase_and_add(memory, write_weights[:, None], sigmoid(handed["erase"]), handed["write"])
        linked = links(state.links, state.precedence, write_weights, self.apart)
        precedence = (1 - write_weights.sum(-1, keepdim=True)) * state.precedence + write_weights
        read_weights = self._where_to_read(memory, linked, state.read_weights, handed)  # [B, R, N]
        reads = read_weights @ memory
        after = (memory, reads, read_weights, write_weights[:, None], usage, precedence, linked)
        return self._answer(h, reads), self.State(*after, *controller)

    def _where_to_write(self, memory: Tensor, usage: Tensor, handed: dict[str, Tensor]) -> Tensor:
        mask = sigmoid(handed["write_mask"]) if self.masked_content else None
        found = content_weights(memory, handed["write_key"], _oneplus(handed["write_strength"]), mask)[:, 0]
        free = allocation(usage, self.earlier)
        return sigmoid(handed["write_gate"]) * (found + sigmoid(handed["allocation_gate"]) * (free - found))

    def _where_to_read(self, memory: Tensor, linked: Tensor, before: Tensor, handed: dict[str, Tensor]) -> Tensor:
        masks = sigmoid(handed["read_masks"]) if self.masked_content else None
        found = content_weights(memory, handed["read_keys"], _oneplus(handed["read_strengths"]), masks)
        backward, forward = before @ linked, (linked @ before.mT).mT
        if self.sharpen_links:
            backward = sharpen(backward, _oneplus(handed["backward_powers"]), _LINK_FLOOR)
            forward = sharpen(forward, _oneplus(handed["forward_powers"]), _LINK_FLOOR)
        modes = softmax(handed["modes"], -1)  # [B, R, 3]
        return modes[..., 0:1] * backward + modes[..., 1:2] * found + modes[..., 2:3] * forward


def _oneplus(value: Tensor) -> Tensor:
    return 1 + softplus(value)


def _used(usage: Tensor, write_weights: Tensor, kept: Tensor) -> Tensor:
    """Usage after the last writing and this freeing, kept within [0, 1] whatever rounding says. Shapes: [B, N]."""
    return ((usage + write_weights * (1 - usage)) * kept).clamp(0, 1)


_REMEDIES = Source(
    key="csordas2019improving",
    authors="Csordás, Róbert and Schmidhuber, Jürgen",
    title="Improving Differentiable Neural Computers Through Memory Masking, De-allocation, and Link Distribution "
    "Sharpness Control",
    year=2019,
    venue="ICLR",
    url="https://arxiv.org/abs/1904.10278",
)
DNC.option_sources = MemoryCell.option_sources | dict.fromkeys(
    ("masked_content", "deallocation", "sharpen_links"), _REMEDIES
)
