"""From `response_format`, `structured_outputs` and `guided_*` to a grammar that was verified.

Whatever backend a request names, llguidance enforces it: the accepted languages are the same.
Converting and compiling happen in threads (llguidance releases the GIL), never on the event loop.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from api.context import ServerContext
from api.protocol.structured import ResponseFormat, StructuredFields, StructuredOutputs
from engine.errors import InvalidParameterError, OverloadedError
from engine.grammar.sources import (
    JSON_OBJECT,
    JsonOptions,
    from_choice,
    from_grammar,
    from_json_schema,
    from_regex,
)
from engine.grammar.structural_tags import from_structural_tag
from engine.grammar.vocabulary import Vocabulary
from engine.request import Grammar

MAX_COMPILE_S = 10.0
MAX_QUEUED_S = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """One source of structure.

    Attributes:
        param: the client's field.
        kind: json | regex | choice | grammar | structural_tag.
        value: as the client gave it.
    """

    param: str
    kind: str
    value: Any
    options: JsonOptions = dataclasses.field(default_factory=JsonOptions)


async def build_grammar(context: ServerContext, request: StructuredFields) -> Grammar | None:
    """The grammar a request asks for, verified; None when any text will do.

    Raises:
        InvalidParameterError: two sources at once, a source that is no such thing, or one that
            cannot be enforced; `param` names the field.
    """
    wanted = find_wanted(request, default_options(context))
    if wanted is None:
        return None
    return await verify_wanted(context, wanted)


async def verify_wanted(context: ServerContext, wanted: Wanted) -> Grammar:
    """The grammar of a source alone, verified. A pattern of whitespace is looked at first, apart
    from its schema, so that its own field is named.

    Raises:
        InvalidParameterError, OverloadedError: as `verified`.
    """
    if wanted.options.whitespace_pattern is not None:
        spaces = _whitespace(wanted.param, wanted.options.whitespace_pattern)
        await verified(context, lambda _: spaces)
    return await verified(context, lambda v: make_grammar(wanted, v.special_ids))


async def verified(context: ServerContext, make: Callable[[Vocabulary], Grammar]) -> Grammar:
    """A grammar made and verified in threads.

    Raises:
        InvalidParameterError: of `make`, or because the grammar cannot be enforced, or not in time.
        OverloadedError: too many others are being compiled.
    """
    grammars, tokenizer, info = context.grammars, context.tokenizer, context.engine.info
    grammar = await asyncio.wrap_future(grammars.make(make, tokenizer, info))
    job = grammars.verify(grammar, tokenizer, info, tenant=context.tenant.key_id)
    result, has_begun = asyncio.wrap_future(job.result), False
    try:
        await asyncio.wait_for(asyncio.wrap_future(job.begun), MAX_QUEUED_S)
        has_begun = True
        reason = await asyncio.wait_for(result, MAX_COMPILE_S)
    except TimeoutError:
        if not has_begun:
            raise OverloadedError("Too many grammars are being compiled.") from None
        reason = f"it takes longer than {MAX_COMPILE_S:g} s to compile."
    finally:
        result.cancel()
    if reason is None:
        return grammar
    message = f"Invalid '{grammar.param}': {reason}"
    raise InvalidParameterError(message, param=grammar.param, code="invalid_grammar")


def default_options(context: ServerContext) -> JsonOptions:
    """`--structured-outputs-config`."""
    config = context.settings.structured_outputs_config
    return JsonOptions(
        any_whitespace=not config.get("disable_any_whitespace", False),
        additional_properties=not config.get("disable_additional_properties", False),
    )


def find_wanted(request: StructuredFields, defaults: JsonOptions | None = None) -> Wanted | None:
    """The one source of a request.

    Arguments:
        defaults: of JSON for which the request has no options of its own.

    Raises:
        InvalidParameterError: there are several, or an option has nothing to work on.
    """
    found = [*_of_format(request.response_format), *_of_outputs(request.structured_outputs)]
    found += _of_guided(request)
    if len(found) > 1:
        raise InvalidParameterError(
            f"Invalid '{found[1].param}': only one kind of structure can be asked for, "
            f"and '{found[0].param}' is given too.",
            param=found[1].param,
        )
    if request.guided_whitespace_pattern is not None and request.guided_json is None:
        raise InvalidParameterError(
            "Invalid 'guided_whitespace_pattern': only allowed with 'guided_json'.",
            param="guided_whitespace_pattern",
        )
    wanted = found[0] if found else None
    if wanted is None or wanted.kind != "json" or wanted.options != JsonOptions():
        return wanted
    return dataclasses.replace(wanted, options=defaults or JsonOptions())


def _whitespace(param: str, pattern: str) -> Grammar:
    prefix = "guided_" if param.startswith("guided_") else "structured_outputs."
    return Grammar(source=from_regex(pattern), param=f"{prefix}whitespace_pattern")


def make_grammar(wanted: Wanted, special_ids: Mapping[str, int]) -> Grammar:
    """The grammar of a source, not compiled.

    Arguments:
        special_ids: the model's special tokens, by their text.

    Raises:
        InvalidParameterError: it is no such thing.
    """
    try:
        source = _MAKERS[wanted.kind](wanted, special_ids)
    except (ValueError, RecursionError) as error:
        reason = str(error)[:300] if not isinstance(error, RecursionError) else "it is too deep"
        raise InvalidParameterError(
            f"Invalid '{wanted.param}': {reason}.", param=wanted.param, code="invalid_grammar"
        ) from None
    return Grammar(source=source, param=wanted.param)


_MAKERS: dict[str, Callable[[Wanted, Mapping[str, int]], str]] = {
    "json": lambda wanted, _: from_json_schema(wanted.value, wanted.options),
    "regex": lambda wanted, _: from_regex(wanted.value),
    "choice": lambda wanted, _: from_choice(wanted.value),
    "grammar": lambda wanted, _: from_grammar(wanted.value),
    "structural_tag": lambda wanted, ids: from_structural_tag(wanted.value, ids),
}


def _of_format(given: ResponseFormat | None) -> list[Wanted]:
    if given is None or given.type == "text":
        return []
    if given.type == "json_object":
        return [Wanted("response_format", "json", JSON_OBJECT)]
    if given.type == "structural_tag":
        tag = given.model_dump(exclude_none=True)
        field = "format" if given.structures is None else "structures"
        return [Wanted(f"response_format.{field}", "structural_tag", tag)]
    if given.json_schema is None:
        raise InvalidParameterError(
            "Missing required parameter: 'response_format.json_schema'.",
            param="response_format.json_schema",
            code="missing_required_parameter",
        )
    schema = given.json_schema.schema_
    return [Wanted("response_format.json_schema.schema", "json", {} if schema is None else schema)]


def _of_outputs(given: StructuredOutputs | None) -> list[Wanted]:
    if given is None:
        return []
    options = JsonOptions(
        any_whitespace=not given.disable_any_whitespace,
        additional_properties=not given.disable_additional_properties,
        whitespace_pattern=given.whitespace_pattern,
    )
    values = {
        "json": given.json_,
        "regex": given.regex,
        "choice": given.choice,
        "grammar": given.grammar,
        "structural_tag": given.structural_tag,
    }
    found = [
        Wanted(f"structured_outputs.{kind}", kind, value, options)
        for kind, value in values.items()
        if value is not None
    ]
    if given.json_object:
        found.append(Wanted("structured_outputs.json_object", "json", JSON_OBJECT, options))
    if not found:
        raise InvalidParameterError(
            "Invalid 'structured_outputs': expected one of json, regex, choice, grammar, "
            "json_object or structural_tag.",
            param="structured_outputs",
        )
    _verify_options(found[0], options)
    return found


def _verify_options(wanted: Wanted, options: JsonOptions) -> None:
    if wanted.kind == "json" or options == JsonOptions():
        return
    name = "whitespace_pattern"
    if options.whitespace_pattern is None:
        is_closed = not options.additional_properties
        name = "disable_additional_properties" if is_closed else "disable_any_whitespace"
    param = f"structured_outputs.{name}"
    raise InvalidParameterError(f"Invalid '{param}': only allowed with JSON.", param=param)


def _of_guided(request: StructuredFields) -> list[Wanted]:
    options = JsonOptions(whitespace_pattern=request.guided_whitespace_pattern)
    values = {
        "json": request.guided_json,
        "regex": request.guided_regex,
        "choice": request.guided_choice,
        "grammar": request.guided_grammar,
    }
    return [
        Wanted(f"guided_{kind}", kind, value, options)
        for kind, value in values.items()
        if value is not None
    ]
