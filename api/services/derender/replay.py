"""A choice's stream, taken up again where the last call left it.

Nothing is kept between calls: the tokens so far travel with the client and are read once more, in
the pieces they came in, by the code that reads them while they are generated. That is exact for
every format, and costs a call as much as the answer is long.
"""

from __future__ import annotations

from collections.abc import Iterator

from api.context import ServerContext
from api.protocol.derender import DerenderStreamState, GeneratedChunk, GivenPiece
from api.services.derender.tokens import entries_of, knowing_stop, push, verify_output
from api.services.generation.output import OutputChunk, OutputSettings, SequenceOutput
from engine.errors import InvalidParameterError
from engine.request import TokenDelta, TokenLogprobs

PLACE = "generate_chunk.choices[0]"


class Replay:
    """One call's view of a choice.

    Attributes:
        piece: what this call adds; None in an event without choices.
        entries: scores of its tokens.
        token_ids: of the choice so far, this call's included.
        texts_before: texts that earlier calls added.
        text: what this call adds.
        ending: the last chunk of the choice; None while it goes on.
    """

    def __init__(
        self,
        context: ServerContext,
        settings: OutputSettings,
        state: DerenderStreamState | None,
        event: GeneratedChunk,
    ) -> None:
        """Read the tokens so far, then those of the event.

        Raises:
            InvalidParameterError, ContextLengthError: the state or the event is at fault.
        """
        state = state or DerenderStreamState()
        earlier = state.output_token_ids
        self.piece: GivenPiece | None = event.choices[0] if event.choices else None
        new = [] if self.piece is None else self.piece.token_ids or []
        self.token_ids = [*earlier, *new]
        verify_output(context, earlier, "stream_state.output_token_ids")
        verify_output(context, self.token_ids, f"{PLACE}.token_ids")
        self.entries: list[TokenLogprobs] = []
        self.chunk_lens = [*state.output_chunk_lens, *([len(new)] if new else [])]
        if sum(state.output_chunk_lens) != len(earlier):
            param = "stream_state.output_chunk_lens"
            message = f"Invalid '{param}': they do not add up to the number of output tokens."
            raise InvalidParameterError(message, param=param)
        self.texts_before: list[str] = []
        self.text = ""
        self.ending: OutputChunk | None = None
        self._read(context, settings, state)

    def _read(
        self, context: ServerContext, settings: OutputSettings, state: DerenderStreamState
    ) -> None:
        piece = self.piece
        known = settings if piece is None else knowing_stop(settings, piece)
        self._output = SequenceOutput(0, context.tokenizer, known)
        for ids in _pieces(state.output_token_ids, state.output_chunk_lens):
            before = self._output.push(TokenDelta(request_id="", token_ids=tuple(ids)))
            self.texts_before.append("" if before is None else before.text)
        if piece is None:
            return
        if self._output.is_finished:
            param = "stream_state.output_token_ids"
            message = f"Invalid '{param}': these tokens have ended the answer already."
            raise InvalidParameterError(message, param=param)
        self.entries = entries_of(piece, PLACE)
        chunks = push(self._output, piece, ())
        self.text = "".join(chunk.text for chunk in chunks)
        if chunks and chunks[-1].finish_reason is not None:
            self.ending = chunks[-1]

    @property
    def state(self) -> DerenderStreamState:
        """For the next call."""
        return DerenderStreamState(
            output_token_ids=self.token_ids, output_chunk_lens=self.chunk_lens
        )

    @property
    def num_reasoning_tokens(self) -> int:
        """Of all tokens so far, those that are thoughts."""
        return self._output.num_reasoning_tokens


def _pieces(token_ids: list[int], lengths: list[int]) -> Iterator[list[int]]:
    start = 0
    for length in lengths:
        yield token_ids[start : start + length]
        start += length
