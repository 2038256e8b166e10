"""`prompt_embeds`: embeddings from their wire forms, in a thread, checked before they are decoded.

"<base64>"                                           a file of torch.save (vLLM's form)
{"dtype": "float32", "shape": [n, width], "data": "<base64>"}      the raw numbers
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence

from api.context import ServerContext
from api.protocol.completions import CompletionRequest, PromptTensor
from api.services.completions.torch_file import open_tensor
from engine.errors import InvalidParameterError
from engine.prompt_embeds import num_bytes, verify_embeds, verify_finite
from engine.request import ModelInfo, PromptEmbeds

PARAM = "prompt_embeds"
NOT_WITH = ("echo", "prompt_logprobs", "suffix", "use_beam_search", "truncate_prompt_tokens")
"""Fields that need the prompt's tokens, or would send the embeddings many times."""


async def read_prompt_embeds(
    context: ServerContext, request: CompletionRequest
) -> list[PromptEmbeds]:
    """The request's embeddings, in order; none when it has none.

    Raises:
        InvalidParameterError: they are not allowed here, or not what they must be.
    """
    given = request.prompt_embeds
    if not given:
        return []
    info = context.engine.info
    if not info.prompt_embeds_width:
        raise InvalidParameterError(
            "You must set `--enable-prompt-embeds` to input `prompt_embeds`.",
            param=PARAM,
            code="unsupported_parameter",
        )
    for name in NOT_WITH:
        if getattr(request, name):
            message = f"Invalid '{name}': it does not go with '{PARAM}'."
            raise InvalidParameterError(message, param=name)
    return await asyncio.to_thread(_read_all, given, info)


def _read_all(
    given: str | PromptTensor | Sequence[str | PromptTensor], info: ModelInfo
) -> list[PromptEmbeds]:
    if isinstance(given, str | PromptTensor):
        return [_read(given, info, PARAM)]
    return [_read(one, info, f"{PARAM}[{index}]") for index, one in enumerate(given)]


def _read(given: str | PromptTensor, info: ModelInfo, param: str) -> PromptEmbeds:
    read = _of_file if isinstance(given, str) else _of_numbers
    embeds = read(given, info, param)  # pyright: ignore[reportArgumentType] - chosen by its type
    verify_embeds(embeds, info, param=param)
    verify_finite(embeds, param=param)
    return embeds


def _of_numbers(tensor: PromptTensor, info: ModelInfo, param: str) -> PromptEmbeds:
    described = _described(tensor.dtype, tensor.shape, param)
    verify_embeds(described, info, param=param, is_whole=False)
    num_characters = -(-num_bytes(described) // 3) * 4
    if len(tensor.data) != num_characters:
        raise _refused(
            param,
            f"'data' has {len(tensor.data)} characters of base64, but its shape and dtype "
            f"need {num_characters}",
        )
    return _filled(described, _decoded(tensor.data, param))


def _of_file(text: str, info: ModelInfo, param: str) -> PromptEmbeds:
    try:
        file = open_tensor(_decoded(text, param))
        described = _described(file.dtype, file.shape, param)
        verify_embeds(described, info, param=param, is_whole=False)
        return _filled(described, file.read())
    except ValueError as error:
        raise _refused(param, f"expected a tensor saved by torch.save, but {error}") from None


def _described(dtype: str, shape: Sequence[int], param: str) -> PromptEmbeds:
    """Without its numbers. A first dimension of 1 before two others is dropped, as in vLLM."""
    sizes = list(shape)
    if len(sizes) == 3 and sizes[0] == 1:
        sizes = sizes[1:]
    if len(sizes) != 2:
        raise _refused(param, f"its shape is {list(shape)[:8]}; expected [tokens, width]")
    return PromptEmbeds(dtype=dtype, num_tokens=sizes[0], width=sizes[1], data=b"")


def _filled(described: PromptEmbeds, data: bytes) -> PromptEmbeds:
    return PromptEmbeds(
        dtype=described.dtype, num_tokens=described.num_tokens, width=described.width, data=data
    )


def _decoded(text: str, param: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _refused(param, "it is not base64") from None


def _refused(param: str, reason: str) -> InvalidParameterError:
    return InvalidParameterError(f"Invalid '{param}': {reason}.", param=param)
