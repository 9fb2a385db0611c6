"""What a network is made of: a table of its layers as data and as text, and the network unrolled over a few steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import nn

from recurra.cells.wrapper import Wrapper, name_of, unwrap
from recurra.engine.contract import Cell
from recurra.networks.attention import Attention
from recurra.networks.bridge import Bridge
from recurra.networks.encoder_decoder import EncoderDecoder
from recurra.networks.heads import OutputLayer
from recurra.networks.pooling import AttentionPooling
from recurra.networks.recurrent import Recurrent
from recurra.networks.sequence_models import ManyToMany, ManyToOne, OneToMany, OneToOne
from recurra.shapes import size_text

__all__ = ["LayerSummary", "Summary", "summary", "unrolled"]


@dataclass(frozen=True)
class LayerSummary:
    """One row of the table.

    Attributes:
        name: where the layer sits in the network, as in its state_dict.
        kind: class of the layer; for a cell with wrappers the cell, then the wrappers.
        output: shape of what it gives, in the letters of this library (T steps, S source steps, B batch).
        parameters: numbers that are learned or could be; those shared with a row above are counted there.
        trainable: how many of them are not frozen.
        state: fields of a cell's state and the numbers of one sequence in each.
    """

    name: str
    kind: str
    output: str
    parameters: int
    trainable: int
    state: dict[str, int]


@dataclass(frozen=True, repr=False)
class Summary:
    """The table of a network; `str` of it, and what a notebook shows, is the text.

    Attributes:
        title: class of the network.
        layers: one row a layer that has parameters or a state, in the order of the network.
        unrolled: the network over a few time steps, drawn in ASCII.
    """

    title: str
    layers: list[LayerSummary]
    unrolled: str

    @property
    def parameters(self) -> int:
        """All numbers that are learned or could be, shared ones counted once."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable(self) -> int:
        """Those that are not frozen."""
        return sum(layer.trainable for layer in self.layers)

    @property
    def state_size(self) -> int:
        """Numbers that are carried from step to step for one sequence, in all layers together."""
        return sum(sum(layer.state.values()) for layer in self.layers)

    def __str__(self) -> str:
        rows = [("layer", "kind", "output", "parameters", "state")]
        rows += [
            (layer.name, layer.kind, layer.output, f"{layer.parameters:,}", _state_text(layer.state))
            for layer in self.layers
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [self.title, ""]
        for row in rows:
            cells = [
                text.rjust(width) if column == 3 else text.ljust(width)
                for column, (text, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        lines.insert(3, "-" * max(map(len, lines)))
        counts = " + ".join(f"{layer.parameters:,}" for layer in self.layers if layer.parameters)
        lines += ["", f"parameters: {counts} = {self.parameters:,}" if counts else "parameters: 0"]
        lines.append(f"trainable:  {self.trainable:,}")
        lines.append(f"state:      {self.state_size:,} numbers a sequence")
        return "\n".join([*lines, "", self.unrolled]).rstrip() + "\n"

    __repr__ = __str__


def summary(network: nn.Module, *, num_steps: int = 3) -> Summary:
    """The table of any network, ours or one that is built of our layers.

        print(recurra.networks.summary(network))

    Args:
        network: any module.
        num_steps: time steps of the unrolled view.
    """
    seen: set[int] = set()
    layers = [_row(name, module, network, deep, seen) for name, module, deep in _layers("", network)]
    kept = [layer for layer in layers if layer.parameters or layer.state]
    return Summary(type(network).__name__, kept, unrolled(network, num_steps=num_steps))


# modules that are one row with all that is inside them
_WHOLE = (Cell, Attention, AttentionPooling, Bridge, OutputLayer, nn.RNNBase)


def _layers(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module, bool]]:
    """Rows in order: (name, module, whether what is inside belongs to the row)."""
    children = list(module.named_children())
    if isinstance(module, _WHOLE) or not children:
        yield name, module, True
        return
    for child_name, child in children:
        yield from _layers(f"{name}.{child_name}" if name else child_name, child)
    if any(True for _ in module.parameters(recurse=False)):  # an output layer of one's own stands last
        yield name, module, False


def _row(name: str, module: nn.Module, network: nn.Module, deep: bool, seen: set[int]) -> LayerSummary:
    parameters = [one for one in module.parameters(recurse=deep) if id(one) not in seen]
    seen.update(id(one) for one in parameters)
    return LayerSummary(
        name or "output" if isinstance(module, EncoderDecoder) else name or type(module).__name__,
        _kind(module) if name or deep else "output layer",
        _output(name, module, network),
        sum(one.numel() for one in parameters),
        sum(one.numel() for one in parameters if one.requires_grad),
        _state(module) if isinstance(module, Cell) else {},
    )


def _kind(module: nn.Module) -> str:
    if not isinstance(module, Cell):
        return type(module).__name__
    names = []
    inner = module
    while isinstance(inner, Wrapper):
        names.append(type(inner).__name__)
        inner = inner.cell
    return " + ".join([name_of(inner), *reversed(names)])


def _state(cell: Cell) -> dict[str, int]:
    state = unwrap(cell).initial_state(1)
    return {name: field.numel() for name, field in zip(state._fields, state, strict=True)}


def _state_text(state: dict[str, int]) -> str:
    return ", ".join(f"{name} {size:,}" for name, size in state.items())


_SIZE: list[tuple[type, Callable[..., int | str]]] = [
    (Cell, lambda module: ", ".join(map(str, module.output_shape))),
    (OutputLayer, lambda module: module.output_size),
    (Attention, lambda module: module.context_size),
    (AttentionPooling, lambda module: len(module.query)),
    (EncoderDecoder, lambda module: module.vocab_size),
    (nn.Embedding, lambda module: module.embedding_dim),
    (nn.LayerNorm, lambda module: ", ".join(map(str, module.normalized_shape))),
    (nn.Linear, lambda module: module.out_features),
    (nn.RNNBase, lambda module: (module.proj_size or module.hidden_size) * (2 if module.bidirectional else 1)),
]


def _output(name: str, module: nn.Module, network: nn.Module) -> str:
    if isinstance(module, Bridge):
        return "states [B, ...]"
    size = next((measure(module) for kind, measure in _SIZE if isinstance(module, kind)), None)
    if size is None:
        return ""
    part = name.partition(".")[0]
    once = isinstance(network, OneToOne) or (isinstance(network, ManyToOne) and part in ("pooling", "output"))
    if once or part == "begin":
        return f"[B, {size}]"
    source = isinstance(network, EncoderDecoder) and part in ("encoder", "source_embedding")
    return f"[{'S' if source else 'T'}, B, {size}]"


# --- the unrolled view -----------------------------------------------------------------------------------------------


def unrolled(network: nn.Module, *, num_steps: int = 3) -> str:
    """The network over its first time steps, drawn in ASCII; empty for what has no recurrent layers of ours.

    Args:
        network: a `Recurrent`, one of the sequence models, or an `EncoderDecoder`.
        num_steps: time steps drawn, at least 1.
    """
    steps = max(1, num_steps)
    if isinstance(network, Recurrent):
        return _Drawing(steps).texts("x").layers(network).texts("y").text()
    if isinstance(network, Cell):
        return unrolled(Recurrent(network), num_steps=steps)
    if isinstance(network, EncoderDecoder):
        return _draw_encoder_decoder(network, steps)
    if isinstance(network, OneToOne | ManyToOne | ManyToMany | OneToMany):
        return _draw_sequence_model(network, steps)
    return ""


def _draw_sequence_model(network: OneToOne | ManyToOne | ManyToMany | OneToMany, steps: int) -> str:
    drawing = _Drawing(1 if isinstance(network, OneToOne) else steps)
    if isinstance(network, OneToMany):
        drawing.texts("y", first="start", offset=0)
    else:
        drawing.texts("x")
    if network.embedding is not None:
        drawing.boxes(_embedding_text(network.embedding))
    drawing.layers(network.recurrent, begin="x > " if isinstance(network, OneToMany) else "")
    if isinstance(network, ManyToOne):
        kind = network.pooling.kind if hasattr(network.pooling, "kind") else "attention"
        drawing.pool(str(kind), both=network.recurrent.bidirectional)
        return drawing.last_box(_output_text(network.output)).last_text("y").text()
    return drawing.boxes(_output_text(network.output)).texts("y").text()


def _draw_encoder_decoder(network: EncoderDecoder, steps: int) -> str:
    encoder = _Drawing(steps).texts("x")
    embedding = network.source_embedding if network.source_embedding is not None else network.target_embedding
    if network.reads_tokens:
        encoder.boxes(_embedding_text(embedding))
    encoder.layers(network.encoder)
    decoder = _Drawing(steps).texts("y", first="begin", offset=0).boxes(_embedding_text(network.target_embedding))
    decoder.layers(network.decoder, begin="s > ")
    attention = "no attention"
    if network.attention is not None:
        decoder.boxes(type(network.attention).__name__)
        attention = f"its outputs are the memory of {type(network.attention).__name__}"
    decoder.boxes(f"features {network.feature_size}").boxes(f"output {network.vocab_size}").texts("y")
    feeding = "; features of a step enter the next one" if network.input_feeding else ""
    return (
        f"decoder: s is made from the encoder's last states by the bridge `{network.bridge.kind}`{feeding}\n\n"
        f"{decoder.text()}\n\nencoder: {attention}\n\n{encoder.text()}"
    )


def _embedding_text(embedding: nn.Embedding) -> str:
    return f"Embedding {embedding.num_embeddings}x{embedding.embedding_dim}"


def _output_text(output: nn.Module) -> str:
    size = next((measure(output) for kind, measure in _SIZE if isinstance(output, kind)), "")
    return f"{type(output).__name__} {size}".strip()


class _Drawing:
    """Lines of text, from the bottom of the picture to its top; drawn when all widths are known."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        # each line: what stands in each column, what joins columns, what stands in front
        self.lines: list[tuple[list[str], str, str]] = []

    def _add(self, columns: list[str], join: str = "", begin: str = "") -> _Drawing:
        self.lines.append((columns, join, begin))
        return self

    def _arrows(self) -> None:
        if self.lines:
            below = self.lines[-1][0]
            self._add(["^" if text else "" for text in below])

    def texts(self, letter: str, *, first: str | None = None, offset: int = 1) -> _Drawing:
        self._arrows()
        names = [f"{letter}{step + offset}" for step in range(self.steps)]
        return self._add([first, *names[1:]] if first is not None else names)

    def boxes(self, text: str) -> _Drawing:
        self._arrows()
        return self._add([f"[{text}]"] * self.steps)

    def layers(self, network: Recurrent, *, begin: str = "") -> _Drawing:
        for cells in network.layers:
            self._arrows()
            forward, *backward = [f"[{_kind(cell)} {size_text(cell.output_shape)}]" for cell in cells]  # type: ignore[attr-defined]
            if backward:
                self._add([backward[0]] * self.steps, join="<")
            self._add([forward] * self.steps, join=">", begin=begin)
        return self

    def pool(self, kind: str, *, both: bool) -> _Drawing:
        takes = [kind != "last" or step == self.steps - 1 or (both and step == 0) for step in range(self.steps)]
        self._add(["^" if taken else "" for taken in takes])
        return self._add([""] * (self.steps - 1) + [f"({kind})"])

    def last_box(self, text: str) -> _Drawing:
        self._arrows()
        return self._add([""] * (self.steps - 1) + [f"[{text}]"])

    def last_text(self, text: str) -> _Drawing:
        self._arrows()
        return self._add([""] * (self.steps - 1) + [text])

    def text(self) -> str:
        width = max(len(text) for columns, *_ in self.lines for text in columns)
        margin = max(len(begin) for _, _, begin in self.lines)
        return "\n".join(
            (begin.rjust(margin) + f" {join or ' '} ".join(text.center(width) for text in columns)).rstrip()
            for columns, join, begin in reversed(self.lines)
        )
