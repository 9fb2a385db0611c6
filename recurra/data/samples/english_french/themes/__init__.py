"""Sentence frames, one file per theme."""

from . import calendar, food, health, home, leisure, nature, people, questions, routine, shopping, study, town, travel

THEMES = tuple(
    module.THEME
    for module in (
        calendar,
        food,
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
