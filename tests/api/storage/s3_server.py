"""A small S3 in memory: what object stores of clouds do with whole and multipart uploads, ranges,
deletion and signatures, strict where S3 is strict."""

from __future__ import annotations

import hashlib
import hmac
import html
import re
import threading
import urllib.parse
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ACCESS_KEY, SECRET_KEY, REGION, BUCKET = "AKIDEXAMPLE", "a secret", "us-east-1", "bucket"
MIN_PART_BYTES = 5 * 2**20

_SIGNATURE = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d+)/([^/]+)/s3/aws4_request, ?"
    r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]+)"
)


class S3(ThreadingHTTPServer):
    """One bucket.

    Attributes:
        objects: bytes by key.
        uploads: parts by number, of multipart uploads that are not over.
        num_failures: so many requests are answered 500 first.
        asked: method and path of each request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.num_failures = 0
        self.asked: list[str] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def s3_serving() -> Iterator[S3]:
    """It listens until the block ends."""
    with S3() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Refused(Exception):
    """Status and code of an error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: S3

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        fields = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.asked.append(f"{self.command} {self.path}")
        try:
            if self.server.num_failures > 0:
                self.server.num_failures -= 1
                raise _Refused(500, "InternalError")
            self._verify_signature(path, query, body)
            bucket, _, key = urllib.parse.unquote(path).lstrip("/").partition("/")
            if bucket != BUCKET:
                raise _Refused(404, "NoSuchBucket")
            getattr(self, f"_{self.command.lower()}")(key, fields, body)
        except _Refused as error:
            status, code = error.args
            self._answer(status, f"<Error><Code>{code}</Code></Error>".encode())

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

    def _verify_signature(self, path: str, query: str, body: bytes) -> None:
        """AWS Signature Version 4."""
        match = _SIGNATURE.fullmatch(self.headers.get("authorization", ""))
        if match is None or match[1] != ACCESS_KEY:
            raise _Refused(403, "InvalidAccessKeyId")
        day, region, names, given = match[2], match[3], match[4], match[5]
        stated = self.headers["x-amz-content-sha256"]
        if stated not in {"UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()}:
            raise _Refused(400, "XAmzContentSHA256Mismatch")
        headers = "".join(f"{n}:{(self.headers[n] or '').strip()}\n" for n in names.split(";"))
        sorted_query = "&".join(sorted(p if "=" in p else p + "=" for p in query.split("&") if p))
        request = "\n".join((self.command, path, sorted_query, headers, names, stated))
        scope = f"{day}/{region}/s3/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{self.headers['x-amz-date']}\n{scope}\n{digest}"
        key = f"AWS4{SECRET_KEY}".encode()
        for piece in (day, region, "s3", "aws4_request", text):
            key = hmac.digest(key, piece.encode(), "sha256")
        if key.hex() != given:
            raise _Refused(403, "SignatureDoesNotMatch")

    def _get(self, key: str, fields: dict[str, str], body: bytes) -> None:
        if key not in self.server.objects:
            raise _Refused(404, "NoSuchKey")
        data = self.server.objects[key]
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range") or "")
        if wanted is None:
            self._answer(200, data, etag='"x"')
            return
        start, end = int(wanted[1]), min(int(wanted[2]) + 1, len(data))
        if start >= len(data):
            raise _Refused(416, "InvalidRange")
        shown = {"content-range": f"bytes {start}-{end - 1}/{len(data)}"}
        self._answer(206, data[start:end], etag='"x"', **shown)

    def _head(self, key: str, fields: dict[str, str], body: bytes) -> None:
        self._get(key, fields, body)

    def _put(self, key: str, fields: dict[str, str], body: bytes) -> None:
        if "uploadId" in fields:
            self._upload(fields)[int(fields["partNumber"])] = body
        else:
            self.server.objects[key] = body
        self._answer(200, b"", etag='"x"')

    def _post(self, key: str, fields: dict[str, str], body: bytes) -> None:
        if "delete" in fields:
            keys = [html.unescape(each) for each in re.findall(r"<Key>(.*?)</Key>", body.decode())]
            for each in keys:
                self.server.objects.pop(each, None)
            gone = "".join(f"<Deleted><Key>{html.escape(each)}</Key></Deleted>" for each in keys)
            self._answer(200, _xml("DeleteResult", gone))
            return
        if "uploads" in fields:
            upload_id = uuid.uuid4().hex
            self.server.uploads[upload_id] = {}
            text = f"<UploadId>{upload_id}</UploadId><Bucket>{BUCKET}</Bucket><Key>{key}</Key>"
            self._answer(200, _xml("InitiateMultipartUploadResult", text))
            return
        parts = self._upload(fields)
        numbers = [int(n) for n in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body)]
        if not numbers or numbers != sorted(parts):
            raise _Refused(400, "MalformedXML")
        if any(len(parts[number]) < MIN_PART_BYTES for number in numbers[:-1]):
            raise _Refused(400, "EntityTooSmall")
        self.server.objects[key] = b"".join(parts[number] for number in numbers)
        del self.server.uploads[fields["uploadId"]]
        text = f'<Bucket>{BUCKET}</Bucket><Key>{key}</Key><ETag>"x"</ETag>'
        self._answer(200, _xml("CompleteMultipartUploadResult", text))

    def _delete(self, key: str, fields: dict[str, str], body: bytes) -> None:
        self._upload(fields)
        del self.server.uploads[fields["uploadId"]]
        self._answer(204, b"")

    def _upload(self, fields: dict[str, str]) -> dict[int, bytes]:
        if fields["uploadId"] not in self.server.uploads:
            raise _Refused(404, "NoSuchUpload")
        return self.server.uploads[fields["uploadId"]]

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("last-modified", "Mon, 02 Jan 2006 15:04:05 GMT")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def _xml(name: str, text: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?><{name}>{text}</{name}>'.encode()
