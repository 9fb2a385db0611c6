"""The Neural Turing Machine: a controller that reads and writes a memory by content and by place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn, sigmoid, softmax, tanh
from torch.nn.functional import softplus

from recurra.cells.addressing import content_weights, erase_and_add, interpolate, sharpen, shift
from recurra.cells.memory_cell import MemoryCell
from recurra.checks import check_bool, check_choice, check_count
from recurra.engine.contract import Cell, Source
from recurra.errors import ConfigError

__all__ = ["NTM"]

InitialMemory = Literal["constant", "learned", "random"]


class NTM(MemoryCell):
    """Neural Turing Machine, one time step.

        h, c' = controller([x; r_1; ..; r_R], c)         r: the words read at the step before
        k, β, g, s, γ, e, a = W h + b                    for each head, e and a for those that write
        w_c = softmax_n(β K(k, M(n)))                    content: K is the cosine
        w_g = g w_c + (1 - g) w                          interpolation with the weighting before
        w_s(n) = Σ_d s(d) w_g(n - d)                     shift on the ring of slots
        w'(n) = w_s(n)^γ / Σ_m w_s(m)^γ                  sharpening
        r' = Σ_n w'(n) M(n)                              each head that reads
        M' = M ⊙ Π (1 - w' eᵀ) + Σ w' aᵀ                 all heads that write
        y = V [h; r'_1; ..; r'_R] + d                    output

    with k and a through tanh, so that no word grows without bound, β through softplus, γ through 1 + softplus, g and e
    through σ, s through softmax. Heads read the memory as it is before this step's writing. W and b are `interface`, V
    and d `output`. With `bypass_dropout` the output sees h ⊙ z, z ~ Bernoulli(1 - p) / (1 - p), drawn for every unit
    and step, in training.

    Shapes: x [B, I] -> output [B, O], state: memory [B, N, W], reads [B, R, W], read_weights [B, R, N], write_weights
        [B, heads that write, N], then the fields of the controller's state, as controller_h.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, units of the controller.
        controller: the name of a cell, made with H units, or a cell that takes I + R W numbers.
        controller_options: keywords of a controller that is made by its name, as {"layer_norm": True} of "lstm".
        memory_size: N, slots of the memory.
        word_size: W, numbers in one slot.
        num_reads: R, heads that read.
        num_writes: heads that write.
        shift_range: S, how many slots a head can move at one step, in both directions.
        output_size: O, size of the output; H where not given.
        initial_memory: what stands in the memory before the first step: `"constant"` 1e-6 everywhere, `"learned"` or
            `"random"`, the same random numbers for every sequence.
        learned_start: the words and the weightings that count as those of the step before the first are learned. They
            are zeros and the first slot where they are not.
        clip: limit of the numbers W h + b, on both sides of 0; None for no limit.
        bypass_dropout: p, the probability that a unit of the controller is hidden from the output in training; the
            heads see all of them. What the controller knows by heart is no longer enough: the memory has to be read.

    Raises:
        ConfigError: a size cannot be, there are more heads than slots, shifts go around the ring, an option is unknown,
            or the controller does not fit.

    Source: Graves et al. 2014, arXiv:1410.5401, section 3. Constant memory, learned start, tanh and clipping: Collier
        and Beel 2018, arXiv:1807.08518, with their code. Bypass dropout: Franke et al. 2018, arXiv:1807.02658.
    """

    own_fields = ("memory", "reads", "read_weights", "write_weights")
    source = Source(
        key="graves2014neural",
        authors="Graves, Alex and Wayne, Greg and Danihelka, Ivo",
        title="Neural Turing Machines",
        year=2014,
        venue="arXiv",
        url="https://arxiv.org/abs/1410.5401",
        where="section 3",
    )

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        controller: str | Cell = "lstm",
        controller_options: Mapping[str, Any] | None = None,
        memory_size: int = 128,
        word_size: int = 20,
        num_reads: int = 1,
        num_writes: int = 1,
        shift_range: int = 1,
        output_size: int | None = None,
        initial_memory: InitialMemory = "constant",
        learned_start: bool = True,
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
            num_writes=num_writes,
            output_size=output_size,
            clip=clip,
            bypass_dropout=bypass_dropout,
        )
        _check_options(shift_range, memory_size, initial_memory)
        self.initial_memory = initial_memory
        self.shift_range, self.learned_start = shift_range, check_bool("learned_start", learned_start)
        heads = num_reads + num_writes
        self._connect(
            {
                "keys": (heads, word_size),
                "strengths": (heads,),
                "gates": (heads,),
                "shifts": (heads, 2 * shift_range + 1),
                "powers": (heads,),
                "erase": (num_writes, word_size),
                "add": (num_writes, word_size),
            }
        )
        memory = _first_memory(initial_memory, memory_size, word_size)
        if initial_memory == "learned":
            self.first_memory = nn.Parameter(memory)
        else:
            self.register_buffer("first_memory", memory)
        if learned_start:
            self.first_reads = nn.Parameter(torch.empty(num_reads, word_size))
            self.first_weights = nn.Parameter(torch.empty(heads, memory_size))
            self._draw_start()

    first_memory: Tensor

    def reset_parameters(self) -> None:
        """Draw all weights anew, and the first memory where it is drawn."""
        super().reset_parameters()
        with torch.no_grad():
            self.first_memory.copy_(_first_memory(self.initial_memory, self.memory_size, self.word_size))
        if self.learned_start:
            self._draw_start()

    def _draw_start(self) -> None:
        for parameter in (self.first_reads, self.first_weights):
            nn.init.uniform_(parameter, -0.2, 0.2)  # near 0, and near equal weights

    def _start(self) -> dict[str, Tensor]:
        if self.learned_start:
            reads, weights = tanh(self.first_reads), softmax(self.first_weights, -1)
        else:
            reads = self.first_memory.new_zeros(self.num_reads, self.word_size)
            weights = self.first_memory.new_zeros(self.num_reads + self.num_writes, self.memory_size)
            weights[:, 0] = 1
        read_weights, write_weights = weights.split([self.num_reads, self.num_writes])
        return {
            "memory": self.first_memory,
            "reads": reads,
            "read_weights": read_weights,
            "write_weights": write_weights,
        }

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One time step; the equations stand on the class."""
        h, controller, handed = self._control(x, state)
        weights = self._address(state, handed)  # [B, K, N]
        read_weights, write_weights = weights.split([self.num_reads, self.num_writes], 1)
        reads = read_weights @ state.memory  # [B, R, W]
        memory = erase_and_add(state.memory, write_weights, sigmoid(handed["erase"]), tanh(handed["add"]))
        after = self.State(memory, reads, read_weights, write_weights, *controller)
        return self._answer(h, reads), after

    def _address(self, state: Any, handed: dict[str, Tensor]) -> Tensor:
        """Where all heads look, those that read first: [B, K, N]."""
        before = torch.cat([state.read_weights, state.write_weights], 1)
        found = content_weights(state.memory, tanh(handed["keys"]), softplus(handed["strengths"]))
        weights = interpolate(found, before, sigmoid(handed["gates"]))
        weights = shift(weights, softmax(handed["shifts"], -1))
        return sharpen(weights, 1 + softplus(handed["powers"]))


def _check_options(shift_range: int, memory_size: int, initial_memory: str) -> None:
    if 2 * check_count("shift_range", shift_range, least=0) >= memory_size:
        raise ConfigError(
            f"`shift_range` must be at most {(memory_size - 1) // 2}, or shifts overlap on the ring of {memory_size} "
            f"slots, got {shift_range}."
        )
    check_choice("initial_memory", initial_memory, get_args(InitialMemory))


def _first_memory(kind: InitialMemory, memory_size: int, word_size: int) -> Tensor:
    memory = torch.full((memory_size, word_size), 1e-6)
    return memory if kind == "constant" else nn.init.trunc_normal_(memory, std=0.5, a=-1.0, b=1.0)


_IMPLEMENTED = Source(
    key="collier2018implementing",
    authors="Collier, Mark and Beel, Joeran",
    title="Implementing Neural Turing Machines",
    year=2018,
    venue="ICANN",
    url="https://arxiv.org/abs/1807.08518",
)
NTM.option_sources = MemoryCell.option_sources | dict.fromkeys(
    ("initial_memory", "learned_start", "clip"), _IMPLEMENTED
)
