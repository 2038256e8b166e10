"""What Open Responses (specification of 2026-04-24) says of answers and events, as JSON Schemas.

The specification's own suite is TypeScript in a repository that no package registry carries, so
its facts stand here in our own words: which members there must be, of which types, and which
events there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer"}
SWITCH: Schema = {"type": "boolean"}


def one_of(*values: str) -> Schema:
    return {"enum": list(values)}


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def many(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def members(*, optional: tuple[str, ...] = (), **schemas: Schema) -> Schema:
    """An object with at least these members, all of them needed but the `optional` ones."""
    needed = [name for name in schemas if name not in optional]
    return {"type": "object", "properties": schemas, "required": needed}


def any_of(**kinds: Schema) -> Schema:
    """An object of one of these types."""
    named = [{"allOf": [schema, members(type=one_of(kind))]} for kind, schema in kinds.items()]
    return {"anyOf": named}


STATUS = one_of("in_progress", "completed", "incomplete")
PART = any_of(
    input_text=members(text=TEXT),
    output_text=members(text=TEXT, annotations=many({}), logprobs=many({})),
    reasoning_text=members(text=TEXT),
    summary_text=members(text=TEXT),
    refusal=members(refusal=TEXT),
)
ITEM = any_of(
    message=members(
        id=TEXT,
        status=STATUS,
        role=one_of("user", "assistant", "system", "developer"),
        content=many(PART),
        phase=one_of("commentary", "final_answer"),
        optional=("phase",),
    ),
    function_call=members(id=TEXT, call_id=TEXT, name=TEXT, arguments=TEXT, status=STATUS),
    function_call_output=members(id=TEXT, call_id=TEXT, output={}, status=STATUS),
    reasoning=members(
        id=TEXT,
        content=many(PART),
        summary=many(PART),
        encrypted_content=TEXT,
        optional=("content", "encrypted_content"),
    ),
    compaction=members(id=TEXT, encrypted_content=TEXT),
)
TOOL = any_of(
    function=members(
        name=TEXT,
        description=or_null(TEXT),
        parameters=or_null({"type": "object"}),
        strict=or_null(SWITCH),
    )
)
USAGE = members(
    input_tokens=COUNT,
    output_tokens=COUNT,
    total_tokens=COUNT,
    input_tokens_details=members(cached_tokens=COUNT),
    output_tokens_details=members(reasoning_tokens=COUNT),
)
RESPONSE = members(
    id=TEXT,
    object=one_of("response"),
    created_at=COUNT,
    completed_at=or_null(COUNT),
    status=one_of("queued", "in_progress", "completed", "incomplete", "failed", "cancelled"),
    incomplete_details=or_null(members(reason=TEXT)),
    model=TEXT,
    previous_response_id=or_null(TEXT),
    instructions=or_null(TEXT),
    output=many(ITEM),
    error=or_null(members(code=TEXT, message=TEXT)),
    tools=many(TOOL),
    tool_choice={"anyOf": [one_of("none", "auto", "required"), members(type=TEXT)]},
    truncation=one_of("auto", "disabled"),
    parallel_tool_calls=SWITCH,
    text=members(format=members(type=TEXT)),
    top_p=NUMBER,
    presence_penalty=NUMBER,
    frequency_penalty=NUMBER,
    top_logprobs=COUNT,
    temperature=NUMBER,
    reasoning=or_null(members(effort=or_null(TEXT), summary=or_null(TEXT))),
    user=or_null(TEXT),
    usage=or_null(USAGE),
    max_output_tokens=or_null(COUNT),
    max_tool_calls=or_null(COUNT),
    store=SWITCH,
    background=SWITCH,
    service_tier=TEXT,
    metadata={"type": "object"},
    safety_identifier=or_null(TEXT),
    prompt_cache_key=or_null(TEXT),
)
COMPACTED = members(
    id=TEXT, object=one_of("response.compaction"), output=many(ITEM), created_at=COUNT, usage=USAGE
)

OF_RESPONSE: dict[str, Schema] = {"response": RESPONSE}
OF_ITEM: dict[str, Schema] = {"output_index": COUNT, "item": ITEM}
OF_PART: dict[str, Schema] = {"item_id": TEXT, "output_index": COUNT, "content_index": COUNT}
OF_SUMMARY: dict[str, Schema] = {"item_id": TEXT, "output_index": COUNT, "summary_index": COUNT}
OF_CALL: dict[str, Schema] = {"item_id": TEXT, "output_index": COUNT}
EVENTS: dict[str, dict[str, Schema]] = {
    **{
        f"response.{name}": OF_RESPONSE
        for name in ("created", "queued", "in_progress", "completed", "failed", "incomplete")
    },
    "response.output_item.added": OF_ITEM,
    "response.output_item.done": OF_ITEM,
    "response.content_part.added": {**OF_PART, "part": PART},
    "response.content_part.done": {**OF_PART, "part": PART},
    "response.output_text.delta": {**OF_PART, "delta": TEXT},
    "response.output_text.done": {**OF_PART, "text": TEXT},
    "response.output_text.annotation.added": {**OF_PART, "annotation_index": COUNT},
    "response.refusal.delta": {**OF_PART, "delta": TEXT},
    "response.refusal.done": {**OF_PART, "refusal": TEXT},
    "response.reasoning.delta": {**OF_PART, "delta": TEXT},
    "response.reasoning.done": {**OF_PART, "text": TEXT},
    "response.reasoning_summary_part.added": {**OF_SUMMARY, "part": PART},
    "response.reasoning_summary_part.done": {**OF_SUMMARY, "part": PART},
    "response.reasoning_summary_text.delta": {**OF_SUMMARY, "delta": TEXT},
    "response.reasoning_summary_text.done": {**OF_SUMMARY, "text": TEXT},
    "response.function_call_arguments.delta": {**OF_CALL, "delta": TEXT},
    "response.function_call_arguments.done": {**OF_CALL, "arguments": TEXT},
    "error": {"error": members(type=TEXT, code=or_null(TEXT), message=TEXT, param=or_null(TEXT))},
}
TERMINAL = frozenset({"response.completed", "response.failed", "response.incomplete"})


def faults(value: Any, schema: Schema) -> Iterator[str]:
    """Where a value is not what it must be."""
    for error in jsonschema.Draft202012Validator(schema).iter_errors(value):
        yield f"{error.json_path}: {error.message[:300]}"


def faults_of_event(name: str, event: dict[str, Any]) -> Iterator[str]:
    """The same for an event of a stream."""
    if name != event.get("type"):
        yield f"the line 'event: {name}' is not the type {event.get('type')}"
    if event.get("type") not in EVENTS:
        yield f"there is no event {event.get('type')}"
        return
    schema = members(sequence_number=COUNT, **EVENTS[event["type"]])
    yield from (f"{event['type']}: {fault}" for fault in faults(event, schema))
