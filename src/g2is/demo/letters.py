"""Skills with words and their letters: each draws one question and its answer."""

from g2is.demo.dice import WORDS, Dice, Exchange


def reversing(dice: Dice) -> Exchange:
    """A word from its last letter to its first."""
    word = dice.word()
    question = dice.pick(
        (f"Write {word} backwards.", f"Reverse the word {word}.", f"What is {word} from end to start?")
    )
    return question, f"{' '.join(reversed(word))}: {word[::-1]}"


def sorting_letters(dice: Dice) -> Exchange:
    """A word's letters in the order of the alphabet."""
    word = dice.word()
    question = dice.pick(
        (
            f"Sort the letters of {word}.",
            f"Put the letters of {word} in order.",
            f"List the letters of {word} from a to z.",
        )
    )
    return question, " ".join(sorted(word))


def counting_letters(dice: Dice) -> Exchange:
    """How often a letter occurs in a word, mostly one that does."""
    word = dice.word()
    letter = dice.pick(word + "aeiou")
    question = dice.pick(
        (
            f"How many times is {letter} in {word}?",
            f"Count the letter {letter} in {word}.",
            f"How often does {word} have the letter {letter}?",
        )
    )
    count = word.count(letter)
    return question, f"{' '.join(word)}: {letter} is there {count} time{'' if count == 1 else 's'}."


def upper_case(dice: Dice) -> Exchange:
    """Two words in capitals."""
    words = f"{dice.word()} {dice.word()}"
    question = dice.pick((f"Write {words} in capitals.", f"Put {words} in upper case.", f"Change {words} to capitals."))
    return question, words.upper()


def repeating(dice: Dice) -> Exchange:
    """A word several times over."""
    word, times = dice.word(), dice.between(2, 5)
    question = dice.pick(
        (f"Repeat {word} {times} times.", f"Write {word} {times} times.", f"Say {word} {times} times.")
    )
    return question, " ".join([word] * times)


def vowels(dice: Dice) -> Exchange:
    """The vowels of a word in their order."""
    word = dice.word()
    question = dice.pick(
        (f"List the vowels of {word}.", f"Which vowels does {word} have?", f"Keep only {word}'s vowels.")
    )
    return question, " ".join(letter for letter in word if letter in "aeiou")


def alphabetical(dice: Dice) -> Exchange:
    """Which of two words comes first in a dictionary."""
    first = dice.word()
    second = dice.pick([word for word in WORDS if word != first])
    question = dice.pick((f"Which comes first, {first} or {second}?", f"Put {first} and {second} in order."))
    return question, " ".join(sorted((first, second)))
