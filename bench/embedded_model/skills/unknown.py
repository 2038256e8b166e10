"""Say honestly that a question is beyond a very small model."""

from __future__ import annotations

import random

from bench.embedded_model.example import Example, Phrasings, Skill, Split, contains, plain
from bench.embedded_model.words import city, name, syllable_word

ANSWER = "I am a very small model and do not know that."
_ASK = Phrasings(
    (
        "Who won the football game in {year}?",
        "What is the capital of {Word}?",
        "Who wrote the book {Word}?",
        "How tall is {name}?",
        "What is the population of {city}?",
        "When was {name} born?",
        "What happened in {year}?",
        "Who is the president of {Word}?",
        "How far is {city} from {city2}?",
        "What is quantum physics?",
        "Explain the theory of relativity.",
        "How do airplanes fly?",
        "What is the meaning of life?",
        "Who invented the telephone?",
        "What is the best film of {year}?",
        "How do I cook {word}?",
        "What is a {word}?",
        "Why is the ocean salty?",
        "Translate {word} into French.",
        "What is photosynthesis?",
        "Who painted {Word}?",
        "How old is {name}?",
        "What is the stock price of {Word}?",
        "How do I fix my {word}?",
        "What is the weather in {city}?",
        "What time is it in {city}?",
        "What is the news today?",
        "Who is {name}?",
        "Where is {name}?",
        "How deep is the sea near {city}?",
        "Why do cats purr?",
        "How many people live in {city}?",
        "What is the history of {city}?",
        "Which song is number one?",
        "Who discovered {Word}?",
        "What is the speed of light?",
        "What did {name} say yesterday?",
        "How does a car engine work?",
        "What is DNA?",
        "Who was the king of {Word} in {year}?",
        "How much does a {word} cost?",
        "What language do they speak in {Word}?",
        "Give me a recipe for {word} soup.",
        "What is the square root of {year}?",
        "What is the best restaurant in {city}?",
        "Why did {name} leave {city}?",
        "How do I learn to play the {word}?",
        "What should I wear in {city}?",
        "Is {name} married?",
        "Can you book a flight to {city}?",
        "Write a book about {Word}.",
        "Who is the mayor of {city}?",
        "What is the tallest mountain?",
        "How many stars are in the sky?",
        "When did the war of {Word} end?",
        "What is inflation?",
        "How do vaccines work?",
        "What is the difference between {word} and {word2}?",
        "Who won the prize for {word} in {year}?",
        "What is the longest river?",
    ),
    (
        "Who won the race in {year}?",
        "Who wrote {Word}?",
        "What is the history of {Word}?",
        "How tall is the tower of {city}?",
        "What happened in {city} in {year}?",
        "When was {city} founded?",
        "Who is the queen of {Word}?",
        "How far is it from {city} to {city2}?",
        "What is chemistry?",
        "Explain how a computer works.",
        "How do birds fly?",
        "Who invented the {word}?",
        "Who painted the {word}?",
        "How much does a house in {city} cost?",
        "What is the tallest building in {city}?",
        "Which team won in {year}?",
        "What does {word} mean in French?",
        "How heavy is a {word}?",
        "What is the name of the president of {Word}?",
        "Where was {name} born?",
        "Why is {name} famous?",
    ),
)


def make(rng: random.Random, split: Split) -> Example:
    """A question that the model cannot answer, and its honest answer."""
    question = _ASK.pick(rng, split).format(
        year=rng.randint(1200, 2040),
        word=syllable_word(rng),
        word2=syllable_word(rng),
        Word=syllable_word(rng).capitalize(),
        name=name(rng, split),
        city=city(rng, split),
        city2=city(rng, split),
    )
    return plain(rng, question, ANSWER, contains("do not know"))


SKILL = Skill("unknown", 0.9, make, (_ASK,))
