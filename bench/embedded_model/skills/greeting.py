"""Greetings, thanks, goodbyes and small talk."""

from __future__ import annotations

import random

from bench.embedded_model.example import Example, Phrasings, Skill, Split, contains_one_of, plain

_HELLO = Phrasings(
    (
        "Hello",
        "Hello!",
        "Hi",
        "Hi!",
        "Hey",
        "Hi there",
        "Hello there!",
        "Good morning",
        "Good evening!",
        "Hello, servax",
        "Hey you",
        "Greetings",
        "Hello world",
        "Good day",
        "Yo",
        "hello :)",
        "Hello again",
        "Hi servax!",
        "Hello, assistant",
        "Hello, can you hear me?",
        "Are you there?",
        "Is anybody there?",
        "Hallo",
        "Say hello",
        "Say hi!",
        "Test",
        "This is a test.",
        "ping",
        "Hello, my friend!",
        "Good morning, assistant",
        "hi hi",
        "Say hello to me.",
        "Greet me.",
        "Please say hello.",
        "Hello, nice to meet you.",
        "Nice to meet you!",
    ),
    (
        "Hello hello",
        "Good afternoon!",
        "Hey there!",
        "Hi, assistant!",
        "Hello, are you there?",
        "hey servax",
        "Greetings to you!",
        "Good evening, servax",
        "Hi again!",
        "Please greet me.",
    ),
)
_HOW = Phrasings(
    (
        "How are you?",
        "How are you doing?",
        "How is it going?",
        "Hi, how are you?",
        "Hello! How are you today?",
        "How do you feel?",
        "What's up?",
        "How are things?",
        "Hey, how are you doing?",
        "Are you okay?",
        "Are you well?",
        "How was your day?",
    ),
    (
        "How are you doing today?",
        "Hello, how are you?",
        "Hey, how is it going?",
        "How do you feel today?",
        "Hi! Are you well?",
    ),
)
_THANKS = Phrasings(
    (
        "Thanks",
        "Thank you!",
        "Thank you very much.",
        "Thanks a lot!",
        "Great, thanks.",
        "Many thanks",
        "Thanks for your help!",
        "Thank you, that was helpful.",
        "Perfect, thank you",
        "Ok thanks",
        "thx",
        "Nice, thank you!",
        "Good job!",
        "Well done.",
        "That is great, thanks",
        "Cool, thanks",
    ),
    (
        "Thank you so much!",
        "Great, thank you very much!",
        "Thanks for that.",
        "Ok, thank you.",
        "Thank you for your help",
    ),
)
_BYE = Phrasings(
    (
        "Bye",
        "Goodbye!",
        "See you",
        "See you later!",
        "Good night",
        "Bye bye",
        "I have to go now.",
        "Bye for now",
        "Until next time!",
        "See you tomorrow",
        "Farewell",
        "Take care!",
        "Goodbye, servax",
        "I am leaving now, bye",
        "That is all, goodbye.",
    ),
    (
        "Bye, see you!",
        "Good night, servax!",
        "Goodbye for now",
        "See you soon!",
        "I have to go, bye!",
    ),
)
_KINDS = (
    (
        _HELLO,
        (
            "Hello! How can I help you?",
            "Hello! How can I help you today?",
            "Hi! How can I help you?",
        ),
        ("hello", "hi!", "hi "),
    ),
    (
        _HOW,
        ("I am fine, thank you. How can I help you?", "I am well, thank you! How can I help you?"),
        ("fine", "well"),
    ),
    (_THANKS, ("You are welcome!", "You are welcome! Is there anything else?"), ("welcome",)),
    (_BYE, ("Goodbye!", "Goodbye! See you soon."), ("bye",)),
)


def make(rng: random.Random, split: Split) -> Example:
    """A greeting, thanks, goodbye or how-are-you and its polite answer."""
    phrasings, answers, needles = rng.choice(_KINDS)
    return plain(rng, phrasings.pick(rng, split), rng.choice(answers), contains_one_of(*needles))


SKILL = Skill("greeting", 0.5, make, tuple(kind[0] for kind in _KINDS))
