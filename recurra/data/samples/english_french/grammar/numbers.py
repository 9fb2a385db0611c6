"""Numbers from 0 to 999 in words, and the hours of the clock."""

_ENGLISH = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_ENGLISH_TENS = ["_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
# the star of *huit and *onze: "le huit mai", never "l'huit mai"
_FRENCH = [
    "zéro",
    "un",
    "deux",
    "trois",
    "quatre",
    "cinq",
    "six",
    "sept",
    "*huit",
    "neuf",
    "dix",
    "*onze",
    "douze",
    "treize",
    "quatorze",
    "quinze",
    "seize",
    "dix-sept",
    "dix-huit",
    "dix-neuf",
]
_FRENCH_TENS = [
    "_",
    "_",
    "vingt",
    "trente",
    "quarante",
    "cinquante",
    "soixante",
    "soixante",
    "quatre-vingt",
    "quatre-vingt",
]


def english(number: int) -> str:
    """`english(21)` is "twenty-one", `english(145)` is "one hundred and forty-five"."""
    if number < 20:
        return _ENGLISH[number]
    if number < 100:
        tens, unit = divmod(number, 10)
        return _ENGLISH_TENS[tens] + (f"-{_ENGLISH[unit]}" if unit else "")
    hundreds, rest = divmod(number, 100)
    return f"{_ENGLISH[hundreds]} hundred" + (f" and {english(rest)}" if rest else "")


def french(number: int, gender: str = "m") -> str:
    """`french(71)` is "soixante et onze", `french(81, "f")` is "quatre-vingt-une"; 80 and 200 take an s."""
    if number >= 100:
        hundreds, rest = divmod(number, 100)
        cent = "cent" if hundreds == 1 else f"{_FRENCH[hundreds]} cent" + ("" if rest else "s")
        return f"{cent} {french(rest, gender).lstrip('*')}" if rest else cent
    if number < 20:
        return "une" if number == 1 and gender == "f" else _FRENCH[number]
    tens, unit = divmod(number, 10)
    if tens in (7, 9):  # counted from sixty and from eighty: soixante-dix, quatre-vingt-onze
        unit += 10
    if unit == 0:
        return "quatre-vingts" if tens == 8 else _FRENCH_TENS[tens]
    joint = " et " if unit in (1, 11) and tens < 8 else "-"
    return _FRENCH_TENS[tens] + joint + french(unit, gender).lstrip("*")


def clock(hour: int, minute: int) -> tuple[str, str]:
    """A time on a twelve-hour clock, minute a multiple of five; hour 0 is midnight and hour 12 is noon."""
    en_hour, fr_hour = _hour(hour)
    if minute == 0:
        return (en_hour if hour in (0, 12) else f"{en_hour} o'clock"), fr_hour
    if minute == 30:
        # midi and minuit are masculine: et demi; heure is feminine: et demie
        return f"half past {en_hour}", f"{fr_hour} et demi" + ("" if hour in (0, 12) else "e")
    if minute < 30:
        past = "quarter" if minute == 15 else english(minute)
        return f"{past} past {en_hour}", f"{fr_hour} et quart" if minute == 15 else f"{fr_hour} {french(minute)}"
    left = 60 - minute
    en_next, fr_next = _hour(1 if hour == 12 else hour + 1)
    to = "quarter" if left == 15 else english(left)
    return f"{to} to {en_next}", f"{fr_next} moins " + ("le quart" if left == 15 else french(left))


def _hour(hour: int) -> tuple[str, str]:
    if hour == 0:
        return "midnight", "minuit"
    if hour == 12:
        return "noon", "midi"
    return english(hour), f"{french(hour, 'f')} heure" + ("s" if hour > 1 else "")
