"""Refusals of numbers, truths and words that many options share."""

from __future__ import annotations

import math
from collections.abc import Iterable

from recurra.errors import ConfigError, did_you_mean

__all__ = [
    "check_bool",
    "check_choice",
    "check_count",
    "check_known",
    "check_number",
    "check_probability",
    "check_seed",
]


def check_number(name: str, value: float, *, above: float = -math.inf, least: float = -math.inf) -> float:
    """Check a finite number that is larger than `above` and at least `least`.

    Raises:
        ConfigError: it is none.
    """
    real = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not real or value <= above or value < least:
        bound = f" above {above:g}" if above > -math.inf else f" of at least {least:g}" if least > -math.inf else ""
        raise ConfigError(f"`{name}` must be a number{bound}, got {value!r}.")
    return float(value)


def check_probability(name: str, value: float, *, one: bool = False) -> float:
    """Check a probability from 0 up to, but for `one`, not including 1.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not (0 <= value < 1 or (one and value == 1)):
        raise ConfigError(f"`{name}` must be a probability from 0 to {'1' if one else 'below 1'}, got {value!r}.")
    return float(value)


def check_count(name: str, value: int, *, least: int = 1) -> int:
    """Check a whole number of at least `least`.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"`{name}` must be a whole number of at least {least}, got {value!r}.")
    return value


def check_seed(name: str, value: int) -> int:
    """Check a whole number that torch's generators take as their seed: 64 bits, with or without a sign.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**64:
        raise ConfigError(f"`{name}` must be a whole number from -2^63 to below 2^64, got {value!r}.")
    return value


def check_bool(name: str, value: bool) -> bool:
    """Check a truth value: any other value counts as one in Python, and `"no"` as true.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(value, bool):
        raise ConfigError(f"`{name}` must be true or false, got {value!r}.")
    return value


def check_choice(name: str, value: str, choices: Iterable[str]) -> str:
    """Check a word against the words that there are.

    Raises:
        ConfigError: it is none of them.
    """
    choices = tuple(choices)
    if value not in choices:
        *most, last = (repr(choice) for choice in choices)
        raise ConfigError(
            f"`{name}` must be {', '.join(most)} or {last}, got {value!r}.{did_you_mean(str(value), choices)}"
        )
    return value


def check_known(name: str, known: Iterable[str], unknown: str) -> None:
    """Check a name against those that there are.

    Args:
        name: what was given.
        known: all that there are.
        unknown: the sentence about any other, without its full stop.

    Raises:
        ConfigError: it is none of them; the sentence goes on with the nearest, and with all.
    """
    known = tuple(known)
    if name not in known:
        listed = f" All: {', '.join(known)}." if known else ""
        raise ConfigError(f"{unknown}.{did_you_mean(str(name), known)}{listed}")
