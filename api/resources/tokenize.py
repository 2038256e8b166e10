"""Routes of the tokenizer."""

from __future__ import annotations

from quart import Blueprint, Response, request

from api.context import context
from api.http.json_body import read_json_object
from api.resources.answers import json_response, respond
from api.services.prompts.tokenize import detokenize, tokenize, tokenizer_info

blueprint = Blueprint("tokenize", __name__)


@blueprint.post("/tokenize")
async def tokenize_route() -> Response:
    """Token ids of a prompt or of a rendered conversation."""
    return respond(await tokenize(context(), await read_json_object(request)))


@blueprint.post("/detokenize")
async def detokenize_route() -> Response:
    """Text of token ids."""
    return respond(await detokenize(context(), await read_json_object(request)))


@blueprint.get("/tokenizer_info")
async def tokenizer_info_route() -> Response:
    """The tokenizer's configuration."""
    return json_response(tokenizer_info(context()))
