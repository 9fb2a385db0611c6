"""Look inside a network: how far gradients and inputs reach, what states and gates do, where a memory is read.

    from recurra import inspect

    for flow in inspect.gradient_flow(network, x):
        print(flow.layer, flow.factor, flow.verdict)
    with inspect.record(network, gates=True) as passages:
        network(x)
    passages[0].states("h"), passages[0].gates

Results are plain numbers and tensors; `recurra.inspect.figures` draws them.
"""

from recurra.inspect import figures
from recurra.inspect.gates import Saturation, saturation
from recurra.inspect.gradients import GradientFlow, Influence, gradient_flow, input_influence, passage_gradients
from recurra.inspect.jacobians import StepJacobians, step_jacobians
from recurra.inspect.record import Passage, record
from recurra.inspect.states import project
from recurra.networks.memory_trace import memory_trace

__all__ = [
    "GradientFlow",
    "Influence",
    "Passage",
    "Saturation",
    "StepJacobians",
    "figures",
    "gradient_flow",
    "input_influence",
    "memory_trace",
    "passage_gradients",
    "project",
    "record",
    "saturation",
    "step_jacobians",
]
