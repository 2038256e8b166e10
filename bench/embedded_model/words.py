"""Our own word lists, and makers of words that no list holds."""

from __future__ import annotations

import random

from bench.embedded_model.example import Split

_NAMES = (
    "Ada Alan Alice Amir Anna Aria Ben Bob Bruno Carla Chen Clara Dana David Diego Dora Elena Eli "
    "Emma Eric Fatima "
    "Felix Finn Grace Hana Hugo Ida Ines Ivan Jack Jane John Jonas Julia Kai Karl Kate Lars Lea "
    "Leo Lina Lucy Luis Maria "
    "Mark Max Maya Mia Mila Nina Noah Nora Olga Oscar Otto Paul Peter Priya Raj Rita Rosa Ruth "
    "Sam Sara Sofia Tara Theo "
    "Tim Tom Uma Vera Victor Wei Yuki Zoe Robo Nova Pixel Atlas Echo Orion Luna Max Captain Jarvis"
).split()
_HELD_OUT_NAMES = (
    "Lovelace Bella Marvin Samuel Quentin Ophelia Tobias Greta Winston Hazel Igor Mabel Pavel "
    "Simone"
).split()

_CITIES = (
    "Paris|London|Berlin|Rome|Madrid|Tokyo|Oslo|Vienna|Lima|Cairo|Delhi|Seoul|Boston|Chicago|New "
    "York|San Francisco|Los Angeles|"
    "Zürich|São Paulo|Sydney|Toronto|Dublin|Lisbon|Prague|Athens|Moscow|Beijing|Nairobi|"
    "Hamburg|Munich|Geneva|Milan|Porto|"
    "Kyoto|Osaka|Hong Kong|Mexico City|Buenos Aires|Cape "
    "Town|Seattle|Denver|Austin|Miami|Warsaw|Helsinki|Stockholm"
).split("|")
_HELD_OUT_CITIES = (
    "Brussels|Lyon|Barcelona|Portland|Bergen|Singapore|Manila|Leeds|Tunis|Naples|New Haven|"
    "San Diego|Malmö"
).split("|")

_STARTS = [
    *"b c d f g h j k l m n p r s t v w z br ch cl dr fl gr kr ph pl sh st th tr".split(),
    *("", "a", "e"),
]
_MIDDLES = "a e i o u ai ea ee ou ar er in on an el ol".split()
_ENDS = ["", "", "n", "r", "s", "l", "m", "t", "k", "nd", "x", "ry", "la", "na", "to", "vic"]

WORDS = (
    "apple river stone cloud green house little garden music window paper silver happy table "
    "yellow forest train winter "
    "bread coffee light mountain ocean bird quiet summer red blue fish book door star rain snow "
    "fire wood sand moon sun "
    "cat dog horse lemon orange banana kitchen road bridge boat island valley simple small big "
    "old new fast slow warm cold "
    "water bottle letter number word story picture chair pencil school city village flower tree "
    "leaf hill lake field farm "
    "cheese butter sugar salt pepper soup cake tea milk egg honey rice corn bean clock watch ring "
    "glass spoon fork knife"
).split()


def syllable_word(rng: random.Random) -> str:
    """A pronounceable word that is in no list, in lower case."""
    parts = [rng.choice(_STARTS) + rng.choice(_MIDDLES) for _ in range(rng.choice((1, 2, 2, 3)))]
    return "".join(parts) + rng.choice(_ENDS)


def name(rng: random.Random, split: Split) -> str:
    """A person's name; held-out names come from another list or are made up anew."""
    listed = _NAMES if split == "training" else _HELD_OUT_NAMES
    return rng.choice(listed) if rng.random() < 0.4 else syllable_word(rng).capitalize()


def city(rng: random.Random, split: Split) -> str:
    """A place name; held-out places come from another list or are made up anew."""
    listed = _CITIES if split == "training" else _HELD_OUT_CITIES
    return rng.choice(listed) if rng.random() < 0.6 else syllable_word(rng).capitalize()


def phrase(rng: random.Random, most_words: int = 5) -> str:
    """A few words that need not make sense together."""
    words = [
        rng.choice(WORDS) if rng.random() < 0.8 else syllable_word(rng)
        for _ in range(rng.randint(1, most_words))
    ]
    return " ".join(words)
