"""Writing calls into a traced graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

__all__ = ["GraphWriter"]

aten = torch.ops.aten


class GraphWriter:
    """Writes calls before a node."""

    def __init__(self, node: fx.Node) -> None:
        self.graph, self.node = node.graph, node

    def call(self, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
        """A call; what it gives is found by making it on what its operands stand for."""
        with self.graph.inserting_before(self.node):
            made = self.graph.call_function(target, args, kwargs)
        made.meta["val"] = target(*fx.map_arg(args, lambda arg: arg.meta["val"]), **kwargs)
        return made

    def view(self, node: fx.Node, *shape: int) -> fx.Node:
        """The same numbers in another shape."""
        return self.call(aten.reshape.default, node, list(shape))

    def turn(self, node: fx.Node, *order: int) -> fx.Node:
        """The axes in another order."""
        return self.call(aten.permute.default, node, list(order))

    def replace(self, new: fx.Node) -> None:
        """Have everyone read `new` in place of the node."""
        self.node.replace_all_uses_with(new)
