"""Whether every line of a batch is a request that this batch can run; the first hundred that are
not are named, with their line numbers, and then nothing of the batch is run."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import AsyncIterator
from typing import Any

from api.batch_lines import LineError
from api.context import ServerContext
from api.errors import APIError
from api.services.requests import verify_model
from api.workers.batches.reading import Line, parse

MAX_LINES = 50_000
MAX_ERRORS = 100
MAX_CUSTOM_ID = 512


@dataclasses.dataclass
class Findings:
    """What validation found out.

    Attributes:
        model: of the first line, as the client wrote it.
    """

    num_lines: int = 0
    model: str | None = None
    errors: list[dict[str, Any]] = dataclasses.field(default_factory=list[dict[str, Any]])

    def refuse(self, error: APIError, line: int | None) -> None:
        """Note a fault, if there is room; `line` counts from 0."""
        if len(self.errors) < MAX_ERRORS:
            number = None if line is None else line + 1
            self.errors.append(
                {
                    "code": error.code or "invalid_request",
                    "message": error.message,
                    "param": error.param,
                    "line": number,
                }
            )


async def validate(context: ServerContext, endpoint: str, lines: AsyncIterator[Line]) -> Findings:
    """Look at every line; also how many they are."""
    findings = Findings()
    seen: set[bytes] = set()
    async for index, line in lines:
        findings.num_lines += 1
        if findings.num_lines > MAX_LINES:
            findings.refuse(
                APIError(f"A batch may have {MAX_LINES:,} lines.", code="too_many_tasks"), None
            )
            break
        try:
            await _look_at(context, endpoint, line, findings, seen)
        except LineError as failure:
            findings.refuse(failure.error, index)
    if not findings.num_lines:
        findings.refuse(APIError("The input file has no lines.", code="empty_file"), None)
    return findings


_NO_MODEL = APIError(
    "Missing required parameter: 'body.model'.",
    param="body.model",
    code="missing_required_parameter",
)
_WRONG_MODEL = APIError(
    "Invalid 'body.model': a string is needed.", param="body.model", code="invalid_type"
)


async def _look_at(
    context: ServerContext, endpoint: str, line: bytes, findings: Findings, seen: set[bytes]
) -> None:
    """Raises LineError."""
    request = await parse(line, endpoint, strict_fields=context.settings.strict_fields)
    custom_id = str(request.custom_id)
    if len(custom_id) > MAX_CUSTOM_ID:
        raise LineError(
            custom_id, _fault(f"'custom_id' has more than {MAX_CUSTOM_ID} characters", "custom_id")
        )
    key = hashlib.blake2b(custom_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    if key in seen:
        raise LineError(
            custom_id,
            APIError(
                "The 'custom_id' was given to a line before.",
                param="custom_id",
                code="duplicate_custom_id",
            ),
        )
    seen.add(key)
    model = request.body.get("model")
    if not isinstance(model, str):
        raise LineError(custom_id, _NO_MODEL if model is None else _WRONG_MODEL)
    if findings.model is None:
        findings.model = model
    try:
        verify_model(context, model)
    except APIError as error:
        raise LineError(custom_id, error) from None
    if request.body.get("background"):
        raise LineError(custom_id, _fault("'background' cannot be true in a batch", "background"))


def _fault(sentence: str, param: str) -> APIError:
    return APIError(f"{sentence}.", param=param, code="invalid_value")
