"""From a command line to settings: defaults < environment < `--config` file < command line."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, cast

from api.flags import FLAGS, Flag
from api.flags import known as known_flags
from api.flags.types import join_words, only
from api.model import sampling_defaults
from api.settings import ServerSettings
from engine.config import EngineConfig

Given = dict[str, Any]

SILENT_VARIABLES = frozenset({"VLLM_SERVER_DEV_MODE", "VLLM_NO_USAGE_STATS", "VLLM_DO_NOT_TRACK"})
"""Variables of vLLM that ask for what is always so: operators' routes, and telling nobody."""
FLAG_BY_NAME = {flag.name: flag for flag in FLAGS}
MARKS = ("known:", "only:")
SHORT_KNOWN = {f"-{short.lstrip('-')}" for short in known_flags.SHORT}


@dataclasses.dataclass(frozen=True)
class Choices:
    """What `servax serve` was told.

    Attributes:
        warnings: one line for each accepted flag that has no effect.
    """

    server: ServerSettings
    engine: EngineConfig
    warnings: tuple[str, ...]


class UsageError(Exception):
    """The command line cannot be honoured; `str(error)` is one sentence."""


class FlagParser(argparse.ArgumentParser):
    """argparse that raises instead of exiting, and never guesses at prefixes of flags."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(allow_abbrev=False, argument_default=argparse.SUPPRESS, **keywords)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(message)


def parse_choices(arguments: Sequence[str], environment: Mapping[str, str]) -> Choices:
    """Read everything `servax serve` may be told, weakest first.

    Raises:
        UsageError: an unknown flag (with the nearest known one), a bad value, a refused flag.
    """
    given, warnings = parse_arguments(arguments)
    from_file: Given = {}
    if "config" in given:
        path = given.pop("config")
        from_file, more = parse_arguments(read_config_file(path))
        if "config" in from_file:
            raise UsageError(f"--config {path}: a file cannot name another one")
        warnings = (*more, *warnings)
    from_environment, more = read_environment(environment)
    warnings = (*more, *warnings)
    chosen = {**from_environment, **from_file, **given}
    server, engine = fill_fields(chosen)
    more = verify_sampling_defaults(server.override_generation_config)
    return Choices(server, engine, (*warnings, *more))


def verify_sampling_defaults(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Warnings for entries that are no sampling parameters.

    Raises:
        UsageError: an entry that no request could have.
    """
    for fault in sampling_defaults.find_faults(values).values():
        raise UsageError(f"--override-generation-config: {fault}")
    return tuple(
        f"--override-generation-config: {name!r} has no effect in servax and is ignored"
        for name in values
        if name not in sampling_defaults.NAMES
    )


def make_parser() -> FlagParser:
    """argparse's parser for `FLAGS`, `--config` and the known flags without effect."""
    parser = FlagParser(
        prog="servax serve",
        description="Serve a model behind an OpenAI-compatible API.",
        epilog="Every flag is described in docs/flags.md. Flags of vLLM that mean nothing here "
        "are accepted with a warning.",
    )
    parser.add_argument("model_positional", nargs="?", metavar="MODEL", help="the same as --model")
    parser.add_argument("--config", metavar="FILE", help="YAML file of flags without their dashes")
    groups = {flag.group: parser.add_argument_group(flag.group) for flag in FLAGS}
    for flag in FLAGS:
        _add_flag(groups[flag.group], flag)
    _add_known_flags(parser)
    for name, values in known_flags.ONLY.items():
        short = [known_flags.ONLY_SHORT[name]] if name in known_flags.ONLY_SHORT else []
        options: dict[str, Any] = {"dest": f"only:{name}", "help": argparse.SUPPRESS}
        parser.add_argument(f"--{name}", *short, type=only(values), **options)
    return parser


def _add_flag(group: Any, flag: Flag) -> None:
    options: dict[str, Any] = {"dest": flag.name, "help": flag.help}
    if flag.kind.is_boolean:
        options["action"] = argparse.BooleanOptionalAction
    else:
        options |= {"type": flag.kind.convert, "metavar": flag.kind.label}
    if flag.kind.is_list:
        options |= {"nargs": "+", "action": "extend"}
    group.add_argument(f"--{flag.name}", *flag.short, **options)


def _add_known_flags(parser: FlagParser) -> None:
    shorts = {name: short for short, name in known_flags.SHORT.items()}
    for name in (*known_flags.BOOLEANS, *known_flags.VALUES):
        options: dict[str, Any] = {"dest": f"known:{name}", "help": argparse.SUPPRESS}
        if name in known_flags.BOOLEANS:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options |= {"nargs": "*", "action": "extend"}
        parser.add_argument(f"--{name}", *([shorts[name]] if name in shorts else []), **options)


def parse_arguments(arguments: Sequence[str]) -> tuple[Given, tuple[str, ...]]:
    """Flag names to values, only of what was given; and the warnings."""
    words = [_with_dashes(word) for word in arguments]
    _refuse(words)
    words, dotted = _take_dotted(words)
    namespace, unknown = make_parser().parse_known_args(words)
    if unknown:
        raise UsageError(_unknown(unknown[0]))
    given: Given = dict(vars(namespace))
    warnings = tuple(
        _no_effect(name.removeprefix("known:")) for name in given if name.startswith("known:")
    )
    given = {name: value for name, value in given.items() if not name.startswith(MARKS)}
    if "model_positional" in given:
        given["model"] = given.pop("model_positional")
    for name, value in dotted.items():
        given[name] = {**given.get(name, {}), **value}
    for name, value in given.items():
        if name in FLAG_BY_NAME and FLAG_BY_NAME[name].kind.is_list:
            given[name] = join_words(value)
    return given, warnings


def _with_dashes(word: str) -> str:
    """`--max_model_len=5` → `--max-model-len=5`; values and dotted keys stay as they are."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    head, dot, tail = name.partition(".")
    return head.replace("_", "-") + dot + tail + equals + value


def _refuse(words: Sequence[str]) -> None:
    for word in words:
        name = word.removeprefix("--").partition("=")[0]
        if word.startswith("--") and name in known_flags.REFUSED:
            raise UsageError(f"--{name} is refused: {known_flags.REFUSED[name]}")


def _take_dotted(words: list[str]) -> tuple[list[str], dict[str, Given]]:
    """Take `--flag.key value` out of the words, for flags that take JSON objects."""
    rest: list[str] = []
    found: dict[str, Given] = {}
    remaining = iter(words)
    for word in remaining:
        name, equals, value = word.removeprefix("--").partition("=")
        flag, dot, path = name.partition(".")
        if word.startswith("--") and dot and flag in known_flags.VALUES:
            rest += [f"--{flag}", value if equals else next(remaining, "")]
            continue
        if not (word.startswith("--") and dot and _is_json_flag(flag)):
            rest.append(word)
            continue
        _set_path(found.setdefault(flag, {}), path, value if equals else next(remaining, ""))
    return rest, found


def _is_json_flag(name: str) -> bool:
    return name in FLAG_BY_NAME and FLAG_BY_NAME[name].kind.is_json


def _set_path(target: Given, path: str, word: str) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        target = target.setdefault(parent, {})
    try:
        value: Any = json.loads(word)
    except ValueError:
        value = word
    if last.endswith("+"):  # as in vLLM: `--flag.list+ item` adds an item
        target.setdefault(last[:-1], []).append(value)
    else:
        target[last] = value


def _unknown(word: str) -> str:
    if not word.startswith("-"):
        return f"unexpected argument {word!r}"
    name = word.partition("=")[0].removeprefix("--")
    known = [
        *FLAG_BY_NAME,
        *known_flags.BOOLEANS,
        *known_flags.VALUES,
        *known_flags.ONLY,
        "config",
    ]
    near = difflib.get_close_matches(name.removeprefix("no-"), known, n=1, cutoff=0.6)
    hint = f"; did you mean --{near[0]}?" if near else ""
    return f"unknown flag {word.partition('=')[0]}{hint}"


def _no_effect(name: str) -> str:
    if name in known_flags.ALWAYS_ON:
        return f"--{name} has no effect: servax always does this"
    return f"--{name} has no effect in servax and is ignored"


def read_config_file(path: str) -> list[str]:
    """The YAML mapping in `path` as words of a command line.

    Raises:
        UsageError: the file cannot be read, or is not a mapping of flags to values.
    """
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            content: Any = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"--config {path}: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"--config {path}: not a mapping of flags to values")
    mapping = cast("dict[object, Any]", content)
    for name, value in mapping.items():
        if isinstance(value, list) and _takes_one(str(name).replace("_", "-")):
            raise UsageError(f"--config {path}: {name} takes one value")
    return [word for name, value in mapping.items() for word in to_arguments(str(name), value)]


def to_arguments(name: str, value: Any) -> list[str]:
    """`name: value` of a config file as words of a command line."""
    name = name.replace("_", "-")
    if value is None:
        return []
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, list):
        return [f"--{name}={item}" for item in cast("list[Any]", value)] or [f"--{name}"]
    if isinstance(value, dict):
        return [f"--{name}={json.dumps(value)}"]
    return [f"--{name}={value}"]


def _takes_one(name: str) -> bool:
    if name in FLAG_BY_NAME:
        return not FLAG_BY_NAME[name].kind.is_list
    return name == "config" or name in known_flags.BOOLEANS or name in known_flags.ONLY


def read_environment(environment: Mapping[str, str]) -> tuple[Given, tuple[str, ...]]:
    """Values of `SERVAX_*` and of the few variables of vLLM that flags name.

    Raises:
        UsageError: a variable's value is not valid.
    """
    given: Given = {}
    for flag in FLAGS:
        for name in (*flag.environment, environment_name(flag)):
            if name in environment:
                given[flag.name] = _from_variable(flag, name, environment[name])
    return given, _unknown_variables(environment)


def environment_name(flag: Flag) -> str:
    """`SERVAX_MAX_MODEL_LEN` of `max-model-len`."""
    return "SERVAX_" + flag.name.upper().replace("-", "_")


def _from_variable(flag: Flag, name: str, word: str) -> Any:
    try:
        if flag.kind.is_list:
            return tuple(part.strip() for part in word.split(",") if part.strip())
        return flag.kind.convert(word)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"environment variable {name}: {error}") from None


def _unknown_variables(environment: Mapping[str, str]) -> tuple[str, ...]:
    known = {environment_name(flag) for flag in FLAGS}
    return tuple(
        f"environment variable {name} is not known and is ignored"
        for name in sorted(environment)
        if name.startswith("SERVAX_") and name not in known
    ) + _variables_without_effect(environment)


def _variables_without_effect(environment: Mapping[str, str]) -> tuple[str, ...]:
    read = {name for flag in FLAGS for name in flag.environment}
    return tuple(
        f"environment variable {name} of vLLM has no effect in servax and is ignored"
        for name in sorted(environment)
        if name.startswith("VLLM_") and name not in read and name not in SILENT_VARIABLES
    )


def fill_fields(given: Given) -> tuple[ServerSettings, EngineConfig]:
    """The two records of choices; what was not given keeps its default."""
    records: dict[str, Given] = {"server": {}, "engine": {}}
    for name, value in given.items():
        for field in FLAG_BY_NAME[name].fields:
            record, _, attribute = field.partition(".")
            records[record][attribute] = value
    server = ServerSettings(**records["server"])
    records["engine"].setdefault("max_num_queued_reqs", server.max_num_queued_reqs)
    return server, EngineConfig(**records["engine"])
