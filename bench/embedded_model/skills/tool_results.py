"""Answer from what a tool returned."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import TypeAlias

from bench.embedded_model.example import Example, Skill, Split, assistant, contains, user
from bench.embedded_model.skills.tool_box import Call, draw_call, draw_kind
from bench.embedded_model.skills.tool_calls import calling, tool_list
from bench.embedded_model.skills.tool_kinds import KINDS
from bench.embedded_model.words import phrase, syllable_word

_SKIES = "sunny cloudy rainy windy snowy foggy stormy clear dry cold warm".split()
_Outcome: TypeAlias = tuple[str, str, tuple[str, ...]]


def _weather(call: Call, rng: random.Random) -> _Outcome:
    place = str(next(iter(call.arguments.values())))
    degrees, sky = str(rng.randint(-15, 40)), rng.choice(_SKIES)
    shape = rng.randrange(4)
    if shape == 0:
        result = json.dumps(
            {
                rng.choice(("temperature", "temp", "temp_c", "degrees")): int(degrees),
                rng.choice(("condition", "sky", "weather")): sky,
            }
        )
    elif shape == 1:
        result = f"{degrees} degrees, {sky}"
    elif shape == 2:
        result = rng.choice(
            (
                f"{sky}, {degrees} degrees",
                f"It is {sky} and {degrees} degrees.",
                f"{sky} {degrees}°C",
            )
        )
    else:
        result = json.dumps({rng.choice(("temperature", "temp", "temp_c")): int(degrees)})
        return result, f"It is {degrees} degrees in {place}.", (degrees, place)
    return result, f"It is {degrees} degrees and {sky} in {place}.", (degrees, sky, place)


def _time(call: Call, rng: random.Random) -> _Outcome:
    place, clock = (
        str(next(iter(call.arguments.values()))),
        f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}",
    )
    result = rng.choice(
        (
            clock,
            json.dumps({"time": clock}),
            json.dumps({"time": clock, "city": place}),
            f"It is {clock}.",
        )
    )
    return result, f"It is {clock} in {place}.", (clock, place)


def _price(call: Call, rng: random.Random) -> _Outcome:
    ticker, price = (
        str(next(iter(call.arguments.values()))),
        f"{rng.randint(1, 999)}.{rng.randint(10, 99)}",
    )
    result = rng.choice(
        (
            price,
            json.dumps({"price": float(price)}),
            json.dumps({"symbol": ticker, "price": float(price)}),
        )
    )
    return result, f"The price of {ticker} is {price}.", (price, ticker)


def _value(call: Call, rng: random.Random) -> _Outcome:
    value = rng.choice((str(rng.randint(0, 99999)), syllable_word(rng), phrase(rng, 3)))
    typed_value = int(value) if value.isdigit() else value
    key = rng.choice(("result", "value", "answer", "output", "data"))
    result = rng.choice(
        (value, json.dumps({key: typed_value}), json.dumps({"status": "ok", key: typed_value}))
    )
    return result, f"The result is {value}.", (value,)


def _done(call: Call, rng: random.Random) -> _Outcome:
    if rng.random() < 0.15:
        reason = rng.choice(
            ("not found", "no network", "not allowed", "timeout", "server error", phrase(rng, 2))
        )
        return (
            rng.choice((json.dumps({"error": reason}), f"Error: {reason}")),
            f"The tool failed: {reason}.",
            (reason,),
        )
    return (
        rng.choice(
            (
                "ok",
                "done",
                json.dumps({"status": "ok"}),
                json.dumps({"success": True}),
                json.dumps({"status": "done"}),
            )
        ),
        "Done.",
        ("done",),
    )


_OUTCOMES: dict[str, Callable[[Call, random.Random], _Outcome]] = {
    "get_weather": _weather,
    "get_time": _time,
    "get_stock": _price,
    "send_message": _done,
    "remind": _done,
    "play_song": _done,
    "set_light": _done,
}


def make(rng: random.Random, split: Split) -> Example:
    """A request, the call for it and its result; the answer must hold what the result says."""
    kind = KINDS[0] if rng.random() < 0.2 else draw_kind(rng)
    call = draw_call(kind, rng, split)
    result, answer, needles = _OUTCOMES.get(kind.names[0].split()[0], _value)(call, rng)
    messages = (
        user(call.request),
        calling(call),
        {"role": "tool", "tool_call_id": "call_0", "content": result},
    )
    tools = () if split == "training" and rng.random() < 0.15 else tool_list(rng, split, call.tool)
    return Example(messages, assistant(answer), contains(*needles), tools)


SKILL = Skill("tool_result", 1.5, make, ())
