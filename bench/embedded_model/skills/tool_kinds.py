"""The kinds of tools that the training data knows, under many names."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from bench.embedded_model.example import Phrasings, Split
from bench.embedded_model.words import WORDS, city, name, phrase, syllable_word

Value: TypeAlias = Callable[[random.Random, Split], object]


@dataclass(frozen=True)
class Parameter:
    """One parameter: the names it may have, its JSON type, and what users put there."""

    names: str
    type: str
    value: Value
    description: str = ""


@dataclass(frozen=True)
class ToolKind:
    """One thing that tools do, and how users ask for it; `{0}` is the first parameter."""

    names: tuple[str, str]
    descriptions: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    requests: Phrasings


def any_number(largest: int) -> Value:
    """A maker of whole numbers in [0, largest]."""
    return lambda rng, split: rng.randint(0, largest)


def _expression(rng: random.Random, split: Split) -> str:
    left, right, sign = rng.randint(2, 999), rng.randint(2, 999), rng.choice("+-*/")
    return f"{left} {sign} {right}" if rng.random() < 0.8 else f"{left}{sign}{right}"


def _ticker(rng: random.Random, split: Split) -> str:
    return "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.randint(2, 4)))


def _words(most: int) -> Value:
    return lambda rng, split: phrase(rng, most)


def any_word(rng: random.Random, split: Split) -> str:
    """A word of the list, or one made up anew."""
    return rng.choice(WORDS) if rng.random() < 0.6 else syllable_word(rng)


KINDS = (
    ToolKind(
        (
            "get_weather weather current_weather fetch_weather get_current_weather weather_lookup "
            "find_weather weather_now",
            "weather_report query_weather",
        ),
        (
            "Get the weather",
            "Get the current weather in a city",
            "Weather of a place",
            "Get current temperature for a given location.",
        ),
        (Parameter("city location place town city_name", "string", city, "The city"),),
        Phrasings(
            (
                "What is the weather in {0}?",
                "How is the weather in {0}?",
                "What's the weather like in {0}?",
                "Weather in {0}",
                "Is it raining in {0}?",
                "Tell me the weather in {0}.",
                "How warm is it in {0}?",
                "Is it cold in {0} today?",
                "What is the weather like in {0} today?",
                "Get the weather for {0}.",
                "Do I need an umbrella in {0}?",
                "What is the temperature in {0}?",
                "Please check the weather in {0}.",
            ),
            (
                "What's the weather in {0}?",
                "How is the weather in {0} today?",
                "Is it sunny in {0}?",
                "What is the weather like in {0}?",
                "How cold is it in {0}?",
                "Can you tell me the weather in {0}?",
                "Weather for {0} please",
            ),
        ),
    ),
    ToolKind(
        (
            "get_time time current_time get_current_time time_in clock world_clock",
            "local_time tell_time",
        ),
        ("Get the time", "Current time in a city", "Get the local time of a place"),
        (Parameter("city place timezone location zone", "string", city, "The city"),),
        Phrasings(
            (
                "What time is it in {0}?",
                "What is the time in {0}?",
                "Time in {0}",
                "Tell me the time in {0}.",
                "What's the time in {0}?",
                "How late is it in {0}?",
                "Current time in {0}?",
                "Please tell me the time in {0}.",
            ),
            (
                "What time is it now in {0}?",
                "Can you tell me the time in {0}?",
                "What is the current time in {0}?",
                "Get the time in {0}.",
            ),
        ),
    ),
    ToolKind(
        ("calculator calculate compute eval_expression math calc", "evaluate solve_math"),
        ("Calculate an expression", "Evaluate a math expression", "A calculator"),
        (Parameter("expression formula input query", "string", _expression, "The expression"),),
        Phrasings(
            (
                "Calculate {0}",
                "What is {0}?",
                "Compute {0}",
                "Use the calculator: {0}",
                "How much is {0}?",
                "Please calculate {0}",
                "Evaluate {0}",
                "Work out {0} with the calculator.",
                "Solve {0}",
            ),
            (
                "Please compute {0}",
                "Can you calculate {0}?",
                "What is the result of {0}?",
                "Use the calculator for {0}",
            ),
        ),
    ),
    ToolKind(
        ("add add_numbers sum plus", "add_two sum_up"),
        ("Add two numbers", "Returns the sum of two numbers", "Sum"),
        (
            Parameter("a x first left", "integer", any_number(999), "First number"),
            Parameter("b y second right", "integer", any_number(999), "Second number"),
        ),
        Phrasings(
            (
                "Add {0} and {1}.",
                "What is {0} + {1}?",
                "What is {0} plus {1}?",
                "Use the tool to add {0} and {1}.",
                "Sum {0} and {1}",
                "Please add {0} and {1}.",
                "How much is {0} plus {1}?",
                "Compute the sum of {0} and {1}.",
            ),
            (
                "Use the tool for {0} plus {1}.",
                "Let the tool add {0} and {1}.",
                "Add the numbers {0} and {1}.",
            ),
        ),
    ),
    ToolKind(
        ("multiply times product multiply_numbers", "mul multiply_two"),
        ("Multiply two numbers", "Returns the product"),
        (
            Parameter("a x first left", "integer", any_number(99), "First number"),
            Parameter("b y second right", "integer", any_number(99), "Second number"),
        ),
        Phrasings(
            (
                "Multiply {0} and {1}.",
                "What is {0} times {1}?",
                "What is {0} * {1}?",
                "Please multiply {0} by {1}.",
                "Compute {0} times {1}",
            ),
            ("Let the tool multiply {0} by {1}.", "Use the tool for {0} times {1}."),
        ),
    ),
    ToolKind(
        (
            "get_stock stock_price get_stock_price stock quote share_price",
            "stock_quote price_of_stock",
        ),
        ("Get a stock price", "Price of a share", "Get the stock price of a ticker"),
        (Parameter("ticker symbol stock code", "string", _ticker, "The ticker"),),
        Phrasings(
            (
                "What is the stock price of {0}?",
                "Price of {0}?",
                "How is {0} stock doing?",
                "Get the price of {0}.",
                "How much is a share of {0}?",
                "What does {0} cost?",
                "Tell me the stock price of {0}.",
                "Check the {0} stock.",
            ),
            ("What's the price of {0}?", "Get the stock price of {0}.", "How much is {0} stock?"),
        ),
    ),
    ToolKind(
        ("search web_search search_web find lookup google", "search_internet query_web"),
        ("Search the web", "Find something", "Web search"),
        (Parameter("query text q keywords", "string", _words(4), "What to search"),),
        Phrasings(
            (
                "Search for {0}",
                "Find {0}",
                "Search the web for {0}",
                "Look up {0}",
                "Please search for {0}",
                "Google {0}",
                "Find out about {0}",
            ),
            ("Search the internet for {0}", "Please look up {0}", "Can you search for {0}"),
        ),
    ),
    ToolKind(
        ("send_message message send_email send_text notify write_to", "text_person email_person"),
        ("Send a message", "Send a message to a person", "Write to someone"),
        (
            Parameter("to recipient person name", "string", name, "Who gets it"),
            Parameter("text message body content", "string", _words(4), "The message"),
        ),
        Phrasings(
            (
                "Send a message to {0}: {1}",
                "Tell {0}: {1}",
                "Write to {0}: {1}",
                "Message {0}: {1}",
                "Send {0} the message {1}",
                "Email {0}: {1}",
            ),
            ("Send a text to {0}: {1}", "Please write to {0}: {1}", "Send to {0}: {1}"),
        ),
    ),
    ToolKind(
        (
            "remind set_reminder create_reminder reminder add_task add_todo",
            "new_reminder create_task",
        ),
        ("Set a reminder", "Add a task to the list"),
        (Parameter("task text title what", "string", _words(3), "What to do"),),
        Phrasings(
            (
                "Remind me: {0}",
                "Set a reminder: {0}",
                "Remind me of this: {0}",
                "Add a task: {0}",
                "New task: {0}",
                "Put this on my list: {0}",
            ),
            ("Please remind me: {0}", "Create a reminder: {0}", "Add this task: {0}"),
        ),
    ),
    ToolKind(
        ("play_song play play_music music start_music", "play_track listen"),
        ("Play a song", "Play music"),
        (Parameter("song title track name", "string", _words(3), "The song"),),
        Phrasings(
            (
                "Play {0}",
                "Play the song {0}",
                "Please play {0}",
                "I want to hear {0}",
                "Put on {0}",
                "Start the song {0}",
            ),
            ("Can you play {0}", "I want to listen to {0}", "Play the track {0}"),
        ),
    ),
    ToolKind(
        ("translate translate_text translation", "translator translate_word"),
        ("Translate a text", "Translate text to a language"),
        (
            Parameter("text word input", "string", _words(2), "The text"),
            Parameter(
                "language target to lang",
                "string",
                lambda rng, split: rng.choice(
                    "French German Spanish Italian Greek Dutch Latin Polish".split()
                ),
                "The language",
            ),
        ),
        Phrasings(
            (
                "Translate {0} to {1}.",
                "Translate {0} into {1}",
                "What is {0} in {1}?",
                "Say {0} in {1}.",
                "How do you say {0} in {1}?",
            ),
            (
                "Please translate {0} to {1}.",
                "Can you translate {0} into {1}?",
                "What does {0} mean in {1}?",
            ),
        ),
    ),
    ToolKind(
        ("roll_dice dice roll random_number", "throw_dice random_int"),
        ("Roll dice", "Roll a dice with some sides"),
        (Parameter("sides max faces n", "integer", any_number(99), "How many sides"),),
        Phrasings(
            (
                "Roll a dice with {0} sides.",
                "Throw a dice with {0} sides",
                "Roll a {0} sided dice",
                "Please roll a dice with {0} sides.",
            ),
            ("Can you roll a dice with {0} sides?", "Roll one dice that has {0} sides."),
        ),
    ),
    ToolKind(
        ("set_light light turn_light switch_light", "lamp set_lamp"),
        ("Switch the light", "Turn the light of a room on or off"),
        (
            Parameter(
                "room place where",
                "string",
                lambda rng, split: rng.choice(
                    "kitchen garden bedroom office garage hall bathroom".split()
                ),
                "The room",
            ),
            Parameter(
                "on state enabled", "boolean", lambda rng, split: rng.random() < 0.5, "On or off"
            ),
        ),
        Phrasings(
            (
                "Turn {1} the light in the {0}.",
                "Switch {1} the {0} light.",
                "Light {1} in the {0}",
                "Please turn {1} the {0} light.",
            ),
            ("Turn {1} the {0} light.", "Please switch {1} the light in the {0}."),
        ),
    ),
    ToolKind(
        ("get_user find_user user_info lookup_user get_person", "fetch_user who_is"),
        ("Find a user", "Get information about a person"),
        (Parameter("name user username person", "string", name, "The name"),),
        Phrasings(
            (
                "Find the user {0}.",
                "Who is {0}?",
                "Get information about {0}.",
                "Look up the user {0}.",
                "Tell me about the user {0}.",
            ),
            (
                "Please find the user {0}.",
                "Show me the user {0}.",
                "What do you know about the user {0}?",
            ),
        ),
    ),
)
