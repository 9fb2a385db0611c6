"""Sentence frames, one file per theme."""

from . import (
    calendar,
    courtesies,
    food,
    greetings,
    health,
    home,
    leisure,
    nature,
    people,
    questions,
    routine,
    shopping,
    study,
    town,
    travel,
)

THEMES = tuple(
    module.THEME
    for module in (
        calendar,
        courtesies,
        food,
        greetings,
        health,
        home,
        leisure,
        nature,
        people,
        questions,
        routine,
        shopping,
        study,
        town,
        travel,
    )
)
