"""What a client does with a server in about a second, all at once, and what it was told: that has
to be there after the server was killed."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Coroutine
from typing import Any

import httpx

from tests.api.workers.forked import ForkedServer

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
NUM_LINES = 5
MODEL = {"model": "test-model"}
USER = {"role": "user", "content": "one"}
REPEATABLE: dict[str, Any] = {
    CHAT: MODEL | {"messages": [USER], "store": True},
    RESPONSES: MODEL | {"input": "seven"},
    "/v1/conversations": {"items": [USER]},
    "/v1/uploads": {
        "filename": "f", "purpose": "user_data", "mime_type": "text/plain", "bytes": 1,
    },
}  # fmt: skip
"""Bodies by path, sent with an `Idempotency-Key`: each makes one thing."""
NUM_REPEATED_ITEMS = 3
"""Of the conversation of these, and those added to it."""

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})

Json = dict[str, Any]


@dataclasses.dataclass
class Stream:
    """Events of a response as they came, by their numbers."""

    response_id: str = ""
    blocks: dict[int, bytes] = dataclasses.field(default_factory=dict)
    last: str = ""
    is_done: bool = False

    @property
    def is_whole(self) -> bool:
        return self.last in TERMINAL

    def take(self, block: bytes) -> None:
        data = block.partition(b"data: ")[2]
        if data == b"[DONE]":
            self.is_done = True
            return
        event = json.loads(data)
        self.blocks[event["sequence_number"]] = block
        self.last = event["type"]
        if "response" in event:
            self.response_id = event["response"]["id"]


@dataclasses.dataclass
class Repeatable:
    """A request with an `Idempotency-Key`, and what it was answered."""

    body: Json
    answer: bytes | None = None


@dataclasses.dataclass
class Told:
    """What a client knows. Nothing of it may be missing later."""

    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    gone: list[str] = dataclasses.field(default_factory=list)
    batches: dict[str, str] = dataclasses.field(default_factory=dict)
    uploads: dict[str, dict[str, bytes]] = dataclasses.field(default_factory=dict)
    over: list[str] = dataclasses.field(default_factory=list)
    bodies: dict[str, Json] = dataclasses.field(default_factory=dict)
    items: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    background: list[str] = dataclasses.field(default_factory=list)
    streams: list[Stream] = dataclasses.field(default_factory=list)
    repeatable: dict[str, Repeatable] = dataclasses.field(default_factory=dict)
    usages: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    """Prompt and generated tokens of answers."""

    def usage(self, body: Json) -> Json:
        usage: Json = body["usage"]
        names = ("prompt_tokens", "completion_tokens")
        if "input_tokens" in usage:
            names = ("input_tokens", "output_tokens")
        self.usages.append((usage[names[0]], usage[names[1]]))
        return body


def line_of(endpoint: str, index: int) -> bytes:
    body = {"messages": [USER]} if endpoint == CHAT else {"input": "one"}
    line = {"custom_id": f"line-{index}", "method": "POST", "url": endpoint}
    return json.dumps(line | {"body": MODEL | body}).encode() + b"\n"


def input_of(endpoint: str) -> bytes:
    return b"".join(line_of(endpoint, index) for index in range(NUM_LINES))


class Life:
    """One client's requests to one server."""

    def __init__(self, server: ForkedServer, told: Told) -> None:
        self.server, self.told = server, told

    async def live(self, names: Collection[str]) -> None:
        """So many of `PARTS` at once; what fails because the server is dead is over."""
        async with asyncio.timeout(60):
            await asyncio.gather(*(self._until_death(PARTS[name](self)) for name in names))

    async def _until_death(self, part: Coroutine[Any, Any, None]) -> None:
        try:
            await part
        except httpx.TransportError:
            await self.server.death(10)

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Sent again while storage is being opened."""
        while True:
            answer = await self.server.client.request(method, path, **options)
            if answer.status_code != 503:
                return answer
            await asyncio.sleep(0.02)

    async def ask(self, method: str, path: str, **options: Any) -> Json:
        answer = await self.send(method, path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def upload(self, data: bytes, purpose: str) -> str:
        files = {"file": ("in.jsonl", data)}
        file = await self.ask("POST", "/v1/files", data={"purpose": purpose}, files=files)
        self.told.files[file["id"]] = data
        return file["id"]

    async def content(self, file_id: str) -> bytes:
        answer = await self.send("GET", f"/v1/files/{file_id}/content")
        assert answer.status_code == 200, answer.text
        return answer.content

    async def chat_batch(self) -> None:
        await self.batch(CHAT)

    async def response_batch(self) -> None:
        await self.batch(RESPONSES)

    async def batch(self, endpoint: str) -> None:
        file_id = await self.upload(input_of(endpoint), "batch")
        batch_id = await self.create_batch(file_id, endpoint)
        batch = await self.ended(f"/v1/batches/{batch_id}")
        self.told.bodies[f"/v1/batches/{batch_id}"] = batch

    async def create_batch(self, file_id: str, endpoint: str) -> str:
        body = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": "24h"}
        batch_id = (await self.ask("POST", "/v1/batches", json=body))["id"]
        self.told.batches[batch_id] = endpoint
        return batch_id

    async def ended(self, path: str) -> Json:
        while True:
            body = await self.ask("GET", path)
            if body["status"] in ENDED:
                return body
            await asyncio.sleep(0.03)

    async def delete_a_file(self) -> None:
        file_id = await self.upload(b"not for long", "user_data")
        del self.told.files[file_id]
        await self.ask("DELETE", f"/v1/files/{file_id}")
        self.told.gone.append(f"/v1/files/{file_id}")

    async def begin_upload(self, num_bytes: int) -> str:
        body = {"filename": "f", "purpose": "user_data", "mime_type": "text/plain"}
        upload = await self.ask("POST", "/v1/uploads", json=body | {"bytes": num_bytes})
        upload_id = upload["id"]
        self.told.uploads[upload_id] = {}
        return upload_id

    async def add_part(self, upload_id: str, data: bytes) -> None:
        path = f"/v1/uploads/{upload_id}/parts"
        part = await self.ask("POST", path, files={"data": ("part", data)})
        self.told.uploads[upload_id][part["id"]] = data

    async def upload_in_parts(self) -> None:
        upload_id = await self.begin_upload(20)
        for letter in (b"a", b"b"):
            await self.add_part(upload_id, 10 * letter)
        await self.complete(upload_id)

    async def complete(self, upload_id: str) -> None:
        parts = self.told.uploads[upload_id]
        data = b"".join(parts.values())
        body = {"part_ids": list(parts), "md5": hashlib.md5(data).hexdigest()}
        whole = await self.ask("POST", f"/v1/uploads/{upload_id}/complete", json=body)
        self.told.files[whole["file"]["id"]] = data
        self.told.over.append(upload_id)

    async def cancel_an_upload(self) -> None:
        upload_id = await self.begin_upload(10)
        await self.add_part(upload_id, 10 * b"c")
        await self.ask("POST", f"/v1/uploads/{upload_id}/cancel")
        self.told.over.append(upload_id)

    async def converse(self) -> None:
        body = {"items": [USER], "metadata": {"a": "b"}}
        made = await self.ask("POST", "/v1/conversations", json=body)
        path = f"/v1/conversations/{made['id']}"
        self.told.bodies[path] = made
        known = self.told.items.setdefault(path, [])
        added = await self.ask("POST", f"{path}/items", json={"items": [USER, USER]})
        known += [item["id"] for item in added["data"]]
        body = MODEL | {"input": "two", "conversation": made["id"]}
        answer = self.told.usage(await self.ask("POST", RESPONSES, json=body))
        self.told.bodies[f"{RESPONSES}/{answer['id']}"] = answer
        known += [item["id"] for item in answer["output"]]
        await self.note_input(answer["id"])
        gone = f"{path}/items/{known.pop(0)}"
        await self.ask("DELETE", gone)
        self.told.gone.append(gone)
        body = MODEL | {"input": "three", "previous_response_id": answer["id"]}
        answer = self.told.usage(await self.ask("POST", RESPONSES, json=body))
        await self.ask("DELETE", f"{RESPONSES}/{answer['id']}")
        self.told.gone.append(f"{RESPONSES}/{answer['id']}")
        await self.delete_a_conversation()

    async def delete_a_conversation(self) -> None:
        made = await self.ask("POST", "/v1/conversations", json={"items": [USER]})
        body = MODEL | {"input": "eight", "conversation": made["id"]}
        answer = self.told.usage(await self.ask("POST", RESPONSES, json=body))
        await self.note_input(answer["id"])
        path = f"/v1/conversations/{made['id']}"
        await self.ask("DELETE", path)
        self.told.gone.append(path)

    async def note_input(self, response_id: str) -> None:
        """What a response was made of."""
        path = f"{RESPONSES}/{response_id}/input_items"
        self.told.bodies[path] = await self.ask("GET", path)

    async def keep_chats(self) -> None:
        body = MODEL | {"messages": [USER], "store": True, "metadata": {"n": "1"}}
        first = self.told.usage(await self.ask("POST", CHAT, json=body))
        self.told.bodies[f"{CHAT}/{first['id']}"] = first | {"metadata": {"n": "1"}}
        second = self.told.usage(await self.ask("POST", CHAT, json=body))
        path = f"{CHAT}/{second['id']}"
        self.told.bodies[path] = await self.ask("POST", path, json={"metadata": {"n": "2"}})
        third = self.told.usage(await self.ask("POST", CHAT, json=body))
        await self.ask("DELETE", f"{CHAT}/{third['id']}")
        self.told.gone.append(f"{CHAT}/{third['id']}")

    async def stream(self) -> None:
        await self.follow("POST", RESPONSES, json=MODEL | {"input": "four", "stream": True})

    async def stream_in_background(self) -> None:
        body = MODEL | {"input": "five", "stream": True, "background": True}
        await self.follow("POST", RESPONSES, json=body)

    async def follow(self, method: str, path: str, **options: Any) -> Stream:
        """A stream, event by event, told as it comes."""
        while True:
            async with self.server.client.stream(method, path, **options) as answer:
                if answer.status_code == 503:
                    await asyncio.sleep(0.02)
                    continue
                assert answer.status_code == 200, await answer.aread()
                stream, rest = Stream(), b""
                if method == "POST":
                    self.told.streams.append(stream)
                async for piece in answer.aiter_raw():
                    *blocks, rest = (rest + piece).split(b"\n\n")
                    for block in blocks:
                        stream.take(block)
                return stream

    async def begin_in_background(self) -> None:
        body = MODEL | {"input": "six", "background": True}
        begun = await self.ask("POST", RESPONSES, json=body)
        path = f"{RESPONSES}/{begun['id']}"
        self.told.background.append(path)
        self.told.bodies[path] = await self.ended(path)

    async def repeat(self) -> None:
        made = {path: await self.once(path, body) for path, body in REPEATABLE.items()}
        conversation_id, upload_id = made["/v1/conversations"]["id"], made["/v1/uploads"]["id"]
        await self.once(f"/v1/conversations/{conversation_id}/items", {"items": [USER, USER]})
        self.told.uploads[upload_id] = {}
        await self.add_part(upload_id, b"x")
        parts = {"part_ids": list(self.told.uploads.pop(upload_id))}
        whole = await self.once(f"/v1/uploads/{upload_id}/complete", parts)
        self.told.files[whole["file"]["id"]] = b"x"

    async def once(self, path: str, body: Json) -> Json:
        """The answer to a request that may be sent again."""
        request = self.told.repeatable[path] = Repeatable(body)
        request.answer = await self.again(path, request)
        made: Json = json.loads(request.answer)
        if "usage" in made:
            self.told.usage(made)
        return made

    async def again(self, path: str, request: Repeatable) -> bytes:
        """Sent again while the one that was killed may still be at it."""
        headers = {"idempotency-key": path}
        while True:
            answer = await self.send("POST", path, json=request.body, headers=headers)
            if answer.status_code != 409:
                assert answer.status_code == 200, answer.text
                return answer.content
            await asyncio.sleep(0.1)


PARTS: dict[str, Callable[[Life], Coroutine[Any, Any, None]]] = {
    "chat batch": Life.chat_batch,
    "response batch": Life.response_batch,
    "file": Life.delete_a_file,
    "upload": Life.upload_in_parts,
    "cancelled upload": Life.cancel_an_upload,
    "conversation": Life.converse,
    "stored chat": Life.keep_chats,
    "stream": Life.stream,
    "background stream": Life.stream_in_background,
    "background": Life.begin_in_background,
    "idempotency": Life.repeat,
}


class Verification(Life):
    """Looks for what was told to another server's client."""

    async def verify(self) -> None:
        checks = (
            self.verify_files(), self.verify_batches(), self.verify_uploads(),
            self.verify_conversations(), self.verify_background(), self.verify_streams(),
            self.verify_repeatable(),
        )  # fmt: skip
        async with asyncio.timeout(60):
            await asyncio.gather(*checks)
        for path, body in self.told.bodies.items():
            assert await self.ask("GET", path) == body
        for path in self.told.gone:
            assert (await self.send("GET", path)).status_code == 404, path

    async def verify_files(self) -> None:
        listed = (await self.ask("GET", "/v1/files?limit=1000"))["data"]
        ids = [file["id"] for file in listed]
        assert len(ids) == len(set(ids))
        for file_id, data in self.told.files.items():
            assert file_id in ids
            assert await self.content(file_id) == data

    async def verify_batches(self) -> None:
        listed = (await self.ask("GET", "/v1/batches?limit=100"))["data"]
        assert {batch["id"] for batch in listed} >= set(self.told.batches)
        for each in listed:
            batch = await self.ended(f"/v1/batches/{each['id']}")
            assert batch["status"] == "completed", batch
            counts = {"total": NUM_LINES, "completed": NUM_LINES, "failed": 0}
            assert batch["request_counts"] == counts
            lines = (await self.content(batch["output_file_id"])).splitlines()
            await self.verify_lines([json.loads(line) for line in lines], batch["endpoint"])

    async def verify_lines(self, results: list[Json], endpoint: str) -> None:
        assert [each["custom_id"] for each in results] == [f"line-{i}" for i in range(NUM_LINES)]
        bodies = [self.told.usage(each["response"]["body"]) for each in results]
        assert len({body["id"] for body in bodies}) == NUM_LINES
        if endpoint == RESPONSES:
            for body in bodies:
                assert await self.ask("GET", f"{RESPONSES}/{body['id']}") == body

    async def verify_uploads(self) -> None:
        for upload_id, parts in self.told.uploads.items():
            if upload_id not in self.told.over and sum(map(len, parts.values())) == 20:
                body = {"part_ids": list(parts)}
                path = f"/v1/uploads/{upload_id}/complete"
                answer = await self.send("POST", path, json=body)
                # the other possibility: it was completed, and its client was not told
                assert answer.status_code == 200 or "is completed" in answer.text, answer.text
            elif upload_id in self.told.over:
                answer = await self.send("POST", f"/v1/uploads/{upload_id}/cancel")
                assert answer.status_code == 400

    async def verify_conversations(self) -> None:
        for path, known in self.told.items.items():
            page = await self.ask("GET", f"{path}/items?limit=100&order=asc")
            ids = [item["id"] for item in page["data"]]
            assert len(ids) == len(set(ids))
            assert [each for each in ids if each in known] == known

    async def verify_background(self) -> None:
        for path in self.told.background:
            body = await self.ended(path)
            assert body["status"] == "completed", body

    async def verify_streams(self) -> None:
        for told in self.told.streams:
            if told.blocks:
                await self.verify_stream(told)

    async def verify_stream(self, told: Stream) -> None:
        path = f"{RESPONSES}/{told.response_id}"
        again = await self.follow("GET", f"{path}?stream=true")
        assert again.is_whole
        assert again.is_done
        numbers = list(again.blocks)
        assert numbers == list(range(len(numbers)))
        response = json.loads(again.blocks[numbers[-1]].partition(b"data: ")[2])["response"]
        self.told.usage(response)
        if again.last == "response.completed":
            assert {n: again.blocks[n] for n in told.blocks} == told.blocks
        else:  # it died with its server, and what was written down says so
            assert again.last == "response.failed"
            assert not told.is_whole
            assert not response["background"]
        for number in numbers[:-1]:
            rest = await self.follow("GET", f"{path}?stream=true&starting_after={number}")
            assert rest.blocks == {n: again.blocks[n] for n in numbers[number + 1 :]}
            assert rest.is_done
        if not told.is_whole:
            last = max(told.blocks)
            rest = await self.follow("GET", f"{path}?stream=true&starting_after={last}")
            assert rest.is_whole, "a client that was cut off hears how it ended"

    async def verify_repeatable(self) -> None:
        for path, request in self.told.repeatable.items():
            answer = await self.again(path, request)
            assert answer == (request.answer or await self.again(path, request))
            if path.endswith("/items"):
                page = await self.ask("GET", path)
                assert len(page["data"]) == NUM_REPEATED_ITEMS
