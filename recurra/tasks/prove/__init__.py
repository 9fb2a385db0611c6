"""The proving ground: the problems that made recurrent networks famous, and what becomes of each cell on them.

from recurra.tasks.prove import make_problem, prove

outcome = prove(make_problem("parity"), "lstm")
print(outcome.results[0].shown)
"""

from recurra.tasks.prove.problem import Answer, Batch, Problem, Published, Settings
from recurra.tasks.prove.registry import PROBLEMS, make_problem
from recurra.tasks.prove.run import Outcome, Result, Solver, prove

__all__ = [
    "PROBLEMS",
    "Answer",
    "Batch",
    "Outcome",
    "Problem",
    "Published",
    "Result",
    "Settings",
    "Solver",
    "make_problem",
    "prove",
]
