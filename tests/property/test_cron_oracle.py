"""The dialect against an independent model of Backrest's cron.

The model is of the consumer alone: what its parser takes, without bounds, as
sets of values, both day fields joined by AND. It shares nothing with the code
under test, which must accept only what cronsim and the model fire alike.
"""

import random
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from cronsim import CronSim

from sidecar.lib.text import SpecInvalid
from sidecar.schedule.parse import parse_schedule

NOW = datetime(2025, 1, 1, tzinfo=UTC)
FIVE_YEARS = 5 * 365 + 1
EXPRESSIONS = 3000
SAMPLE = 40

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
LIMITS = [(0, 59), (0, 24), (1, 31), (1, 12), (0, 6)]
NAMES: list[dict[str, int]] = [
    *({}, {}, {}),
    {name: number for number, name in enumerate(MONTHS, start=1)},
    {name: number for number, name in enumerate(DAYS)},
]


@dataclass(frozen=True)
class Model:
    """What Backrest understands: five sets of values."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    def fires_on(self, day: date) -> bool:
        """Return whether all three of the day's fields match."""
        weekday = day.isoweekday() % 7
        return day.day in self.days and day.month in self.months and weekday in self.weekdays


def model_of(expression: str) -> Model:
    """Read five fields as Backrest does."""
    words = expression.split()
    sets = [
        frozenset().union(*(model_values(number, part) for part in word.split(",")))
        for number, word in enumerate(words)
    ]
    return Model(*sets)


def model_values(number: int, part: str) -> frozenset[int]:
    """The values of one list element; a star is the text of the whole range."""
    least, most = LIMITS[number]
    span, slash, step = part.replace("*", f"{least}-{most}", 1).partition("/")
    ends = [
        NAMES[number].get(end.upper()) if end.isalpha() else int(end) for end in span.split("-")
    ]
    first = ends[0]
    last = ends[1] if len(ends) == 2 else (most if slash else first)
    assert first is not None
    assert last is not None
    return frozenset(range(first, last + 1, int(step) if slash else 1))


def random_value(source: random.Random, number: int) -> str:
    """A number or a name; 7 too as a weekday, which must be translated or refused."""
    if NAMES[number] and source.random() < 0.3:
        name = source.choice(sorted(NAMES[number]))
        return source.choice([name, name.lower(), name.title()])
    least, most = LIMITS[number]
    return str(source.randint(least, most + (number == 4)))


def random_element(source: random.Random, number: int) -> str:
    """A star, a value or a range, with or without a step."""
    step = f"/{source.choice([1, 2, 3, 4, 5, 6, 7, 8, 12, 15, 28, 30, 31, 60, 90])}"
    shape = source.randrange(8)
    if shape == 0:
        return "*"
    if shape == 1:
        return "*" + step
    if shape <= 4:
        return random_value(source, number) + (step if shape == 4 else "")
    ends = [random_value(source, number), random_value(source, number)]
    if all(end.isdecimal() for end in ends):
        ends.sort(key=int)
    return "-".join(ends) + (step if shape == 7 else "")


def random_expression(source: random.Random) -> str:
    """Five fields of up to three elements, mostly with one day field open."""
    words = [
        ",".join(random_element(source, number) for _ in range(source.choice([1, 1, 1, 2, 3])))
        for number in range(5)
    ]
    if source.random() < 0.75:
        words[source.choice([2, 4])] = "*"
    return " ".join(words)


def accepted_expressions() -> list[str]:
    """Thousands of accepted expressions, as emitted; the same on every run."""
    source = random.Random(20250101)  # noqa: S311 (a fixed choice, no secret)
    accepted: set[str] = set()
    for _ in range(40 * EXPRESSIONS):
        if len(accepted) == EXPRESSIONS:
            break
        try:
            accepted.add(parse_schedule(random_expression(source), "any", NOW).cron)
        except SpecInvalid:
            continue
    return sorted(accepted)


ACCEPTED = accepted_expressions()
CALENDAR = [NOW.date() + timedelta(days=number) for number in range(FIVE_YEARS)]


def test_thousands_of_expressions_are_accepted() -> None:
    """The laws below are about as many expressions as they claim."""
    assert len(ACCEPTED) == EXPRESSIONS


def test_cronsim_and_the_model_fire_at_the_same_times_of_the_same_days() -> None:
    """Over five years the firing days, and within a day the hours and minutes, agree."""
    for expression in ACCEPTED:
        model, cronsim = model_of(expression), CronSim(expression, NOW)
        assert cronsim.minutes == model.minutes, expression
        assert cronsim.hours == model.hours - {24}, expression
        days = [day for day in CALENDAR if day.month in model.months]
        firing = [day for day in days if model.fires_on(day)]
        simulated = [day for day in days if day.month in cronsim.months and cronsim.match_day(day)]
        assert simulated == firing, expression
        assert cronsim.months == model.months, expression
        assert firing, expression


def test_every_single_fire_of_a_sample_agrees() -> None:
    """Fire by fire over five years, for expressions that fire at most six times a day."""
    sparse = [text for text in ACCEPTED if times_a_day(model_of(text)) <= 6][:SAMPLE]
    assert len(sparse) == SAMPLE
    end = NOW + timedelta(days=FIVE_YEARS)
    for expression in sparse:
        model, simulated = model_of(expression), []
        for fire in CronSim(expression, NOW - timedelta(seconds=1)):
            if fire >= end:
                break
            simulated.append(fire)
        assert simulated == model_fires(model), expression


def times_a_day(model: Model) -> int:
    """How often a firing day fires."""
    return len(model.minutes) * len(model.hours - {24})


def model_fires(model: Model) -> list[datetime]:
    """All fires of the five years, in order."""
    times = [time(hour, minute) for hour in model.hours - {24} for minute in model.minutes]
    return [
        datetime.combine(day, moment, tzinfo=UTC)
        for day in CALENDAR
        if model.fires_on(day)
        for moment in sorted(times)
    ]
