"""`prompt_embeds` in /v1/completions: both wire forms, and what is no tensor of this model."""

from __future__ import annotations

import base64
import io
import pickle
import tracemalloc
import zipfile
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from api.services.completions.torch_file import open_tensor
from engine.errors import InvalidParameterError
from engine.prompt_embeds import embedding_rows
from engine.request import EMBEDDED_TOKEN

WIDTH = 8
ROWS = np.arange(3 * WIDTH, dtype=np.float32).reshape(3, WIDTH) / 4


@pytest.fixture
def speaker(speaking: Any) -> Any:
    made = speaking("hello", "world")
    made.engine.info = msgspec.structs.replace(made.engine.info, prompt_embeds_width=WIDTH)
    return made


def saved(value: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def raw(rows: np.ndarray, dtype: str = "float32", shape: Any = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape or list(rows.shape), "data": text_of(rows.tobytes())}


TENSOR = torch.from_numpy(ROWS)
FINE: dict[str, Any] = {
    "file": text_of(saved(TENSOR)),
    "file of bfloat16": text_of(saved(TENSOR.bfloat16())),
    "file of float16": text_of(saved(TENSOR.half())),
    "file with a batch of one": text_of(saved(TENSOR[None])),
    "file of a part": text_of(saved(torch.cat([TENSOR, TENSOR])[3:])),
    "numbers": raw(ROWS),
    "numbers of float16": raw(ROWS.astype(np.float16), "float16"),
    "numbers with a batch of one": raw(ROWS, shape=[1, 3, WIDTH]),
}


@pytest.mark.parametrize("given", FINE.values(), ids=FINE.keys())
async def test_embeddings_reach_the_engine_as_they_are(speaker: Any, given: Any) -> None:
    answer = await speaker.complete(None, prompt_embeds=given, n=2, return_token_ids=True)
    (request,) = speaker.engine.requests
    assert request.prompt_token_ids == (EMBEDDED_TOKEN,) * 3
    np.testing.assert_array_equal(embedding_rows(request.prompt_embeds, 0, 3), ROWS)
    assert answer["usage"]["prompt_tokens"] == 3
    assert [choice["text"] for choice in answer["choices"]] == ["hello", "world"]
    assert answer["choices"][0]["prompt_token_ids"] is None


async def test_embeddings_come_before_prompts(speaker: Any, tokenizer: Any) -> None:
    given = [FINE["file"], FINE["numbers"]]
    whole = await speaker.complete("one", prompt_embeds=given)
    ids = [request.prompt_token_ids for request in speaker.engine.requests]
    assert ids == [(EMBEDDED_TOKEN,) * 3] * 2 + [tuple(tokenizer.encode("one"))]
    events = await speaker.complete_stream("one", prompt_embeds=given)
    for index, choice in enumerate(whole["choices"]):
        chunks = [c["text"] for e in events[:-1] for c in e["choices"] if c["index"] == index]
        assert "".join(chunks) == choice["text"]


def zipped(program: bytes, numbers: bytes = bytes(96), method: int = 0, **more: bytes) -> str:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/data/0", numbers)
        for name, data in more.items():
            archive.writestr(f"archive/{name}", data)
    return text_of(file.getvalue())


class Bomb:
    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('the pickle was run')",))


PROGRAM = zipfile.ZipFile(io.BytesIO(saved(TENSOR))).read("archive/data.pkl")
NAN = ROWS.copy()
NAN[1, 1] = np.nan
INFINITE = ROWS.astype(np.float16)
INFINITE[0, 0] = np.inf
HUGE = PROGRAM.replace(b"K\x03K\x08\x86", b"J\xff\xff\xff\x7fK\x08\x86", 1)
HOSTILE: dict[str, Any] = {
    "no base64": "%%%",
    "no zip": text_of(b"PK\x03\x04 hello"),
    "nothing": "",
    "a number": 3,
    "a pickle that runs code": zipped(pickle.dumps(Bomb(), 2)),
    "a bare pickle": text_of(pickle.dumps(Bomb())),
    "a file of the time before zips": text_of(saved(TENSOR, _use_new_zipfile_serialization=False)),
    "a sparse tensor": text_of(saved(TENSOR.to_sparse())),
    "a list of tensors": text_of(saved([TENSOR])),
    "a parameter": text_of(saved(torch.nn.Parameter(TENSOR))),
    "a view that is not contiguous": text_of(saved(TENSOR.T.contiguous().T)),
    "float64": text_of(saved(TENSOR.double())),
    "integers": text_of(saved(TENSOR.long())),
    "one dimension": text_of(saved(TENSOR[0])),
    "four dimensions": text_of(saved(TENSOR[None, None])),
    "another width": text_of(saved(torch.zeros(3, WIDTH + 1))),
    "no rows": text_of(saved(torch.zeros(0, WIDTH))),
    "more rows than the context": text_of(saved(torch.zeros(129, WIDTH))),
    "NaN": text_of(saved(torch.from_numpy(NAN))),
    "infinity": raw(INFINITE, "float16"),
    "a NaN of bfloat16": raw(np.full((1, WIDTH), 0x7FC0, np.uint16), "bfloat16"),
    "compressed": zipped(PROGRAM, method=zipfile.ZIP_DEFLATED),
    "a bomb": zipped(PROGRAM, bytes(200_000_000), method=zipfile.ZIP_DEFLATED),
    "fewer numbers than said": zipped(PROGRAM, bytes(92)),
    "more numbers than said": zipped(PROGRAM, bytes(100)),
    "a size of two thousand million": zipped(HUGE),
    "a strange entry": zipped(PROGRAM, **{"code.py": b""}),
    "a big-endian file": zipped(PROGRAM, byteorder=b"big"),
    "half a program": zipped(PROGRAM[:40]),
    "a program of its own": zipped(b"\x80\x02" + b"(" * 4000 + b"."),
    "raw numbers of another length": raw(ROWS, shape=[2, WIDTH]),
    "raw numbers of a huge shape": raw(ROWS, shape=[2**31 - 1, WIDTH]),
    "raw numbers without rows": raw(ROWS, shape=[0, WIDTH]),
    "raw numbers of an unknown dtype": raw(ROWS, "float8"),
    "raw numbers that are no base64": {"dtype": "float32", "shape": [3, WIDTH], "data": "%" * 128},
    "a list with one bad one": [FINE["file"], "%%%"],
}


@pytest.mark.parametrize("given", HOSTILE.values(), ids=HOSTILE.keys())
async def test_what_is_no_tensor_of_this_model_is_refused_by_name(speaker: Any, given: Any) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidParameterError) as caught:
            await speaker.complete(None, prompt_embeds=given)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    is_missing = given == ""
    assert (caught.value.param or "").startswith("prompt" if is_missing else "prompt_embeds")
    assert len(str(caught.value)) < 300
    assert peak_bytes < 8_000_000
    assert speaker.engine.requests == []


@pytest.mark.parametrize("cut", range(0, 700, 37))
def test_a_file_cut_anywhere_is_refused(cut: int) -> None:
    file = saved(TENSOR)
    with pytest.raises(ValueError, match=r"\w"):
        open_tensor(file[:cut]).read()


def test_a_changed_byte_is_refused_or_changes_nothing_but_numbers() -> None:
    file = saved(TENSOR)
    rng = np.random.default_rng(0)
    for _ in range(1000):
        changed = bytearray(file)
        changed[rng.integers(len(file))] ^= 1 << rng.integers(8)
        try:
            tensor = open_tensor(bytes(changed))
            assert tensor.shape == (3, WIDTH)
            assert len(tensor.read()) == ROWS.nbytes
        except ValueError:
            continue


@pytest.mark.parametrize(
    "fields",
    [{"echo": True}, {"prompt_logprobs": 1}, {"use_beam_search": True},
     {"truncate_prompt_tokens": 2}],
)  # fmt: skip
async def test_what_needs_tokens_does_not_go_with_embeddings(
    speaker: Any, fields: dict[str, Any]
) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await speaker.complete(None, prompt_embeds=FINE["file"], **fields)
    assert caught.value.param == next(iter(fields))


async def test_without_the_flag_embeddings_are_refused_and_null_is_none(speaking: Any) -> None:
    speaker = speaking("hello")
    with pytest.raises(InvalidParameterError, match="enable-prompt-embeds") as caught:
        await speaker.complete(prompt_embeds=FINE["file"])
    assert (caught.value.param, caught.value.code) == ("prompt_embeds", "unsupported_parameter")
    await speaker.complete(prompt_embeds=None)


async def test_a_request_without_any_prompt_says_so(speaker: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await speaker.complete(None)
    assert (caught.value.param, caught.value.code) == ("prompt", "missing_required_parameter")
