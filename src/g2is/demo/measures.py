"""Skills with dates, times and units: each draws one question and its answer."""

from g2is.demo.dice import Dice, Exchange

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
UNITS = (("m", "cm", 100), ("km", "m", 1000), ("kg", "g", 1000), ("h", "min", 60), ("min", "s", 60), ("cm", "mm", 10))


def weekdays(dice: Dice) -> Exchange:
    """The day some days after another."""
    day, later = dice.between(0, 6), dice.between(1, 30)
    question = dice.pick(
        (f"Which day is {later} days after {DAYS[day]}?", f"Today is {DAYS[day]}. What day is it in {later} days?")
    )
    return question, f"{DAYS[day]} and {later} days is {DAYS[(day + later) % 7]}."


def months(dice: Dice) -> Exchange:
    """The month some months after another."""
    month, later = dice.between(0, 11), dice.between(1, 11)
    question = dice.pick(
        (
            f"Which month is {later} months after {MONTHS[month]}?",
            f"It is {MONTHS[month]}. What comes in {later} months?",
        )
    )
    return question, f"{MONTHS[month]} and {later} months is {MONTHS[(month + later) % 12]}."


def clock(dice: Dice) -> Exchange:
    """The time some minutes later."""
    hour, minute, later = dice.between(1, 11), 5 * dice.between(0, 11), 5 * dice.between(1, 11)
    end = 60 * hour + minute + later
    question = dice.pick(
        (
            f"What time is it {later} minutes after {hour}:{minute:02}?",
            f"It is {hour}:{minute:02}. Wait {later} minutes.",
        )
    )
    return question, f"{hour}:{minute:02} and {later} minutes is {end // 60}:{end % 60:02}."


def units(dice: Dice) -> Exchange:
    """A quantity in a smaller unit."""
    large, small, factor = dice.pick(UNITS)
    number = dice.between(2, 20)
    question = dice.pick(
        (
            f"How many {small} are {number} {large}?",
            f"Change {number} {large} to {small}.",
            f"{number} {large} in {small}?",
        )
    )
    return question, f"{number} {large} = {number * factor} {small}."
