from __future__ import annotations

import pathlib
import re

import pytest

from api.app import create_app, make_state
from api.endpoints import document as endpoints_doc
from api.endpoints.openapi import make_document
from api.endpoints.table import ENDPOINTS
from api.keys.auth import INFERENCE, METRICS, OPERATOR, is_public, roles_of
from api.settings import ServerSettings

REACH = {INFERENCE: "key", METRICS: "metrics", OPERATOR: "operator"}
ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture
def app():
    return create_app(make_state(ServerSettings(), "m"))


def routes(app):
    for rule in app.url_map.iter_rules():
        if rule.websocket:
            continue  # OpenAPI has no way to say it
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            yield method, path, app.view_functions[rule.endpoint]


def test_every_route_is_in_the_table_and_the_other_way_round(app):
    served = {(method, path) for method, path, _ in routes(app)}
    assert served == {(each.method, each.path) for each in ENDPOINTS}


def test_the_table_says_who_may_call(app):
    table = {(each.method, each.path): each.reach for each in ENDPOINTS}
    for method, path, view in routes(app):
        reach = "public" if is_public(view) else REACH[roles_of(view)]
        assert table[method, path] == reach, path


def test_every_reference_leads_somewhere():
    document = make_document(ServerSettings(), "1")

    def references(node):
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    schemas = document["components"]["schemas"]
    found = set(references(document))
    assert found
    for reference in found:
        assert reference.removeprefix("#/components/schemas/") in schemas


def test_a_body_of_several_kinds_is_documented_by_each():
    document = make_document(ServerSettings(), "1")
    content = document["paths"]["/invocations"]["post"]["requestBody"]["content"]
    name = content["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
    kinds = document["components"]["schemas"][name]["anyOf"]
    assert [kind["$ref"].rsplit("/", 1)[1] for kind in kinds] == [
        "ChatCompletionRequest", "CompletionRequest", "GenerateTokensRequest",
    ]  # fmt: skip


def test_every_operation_documents_its_errors():
    document = make_document(ServerSettings(), "1")
    for operations in document["paths"].values():
        for operation in operations.values():
            assert {"200", "400", "401", "500", "503"} <= set(operation["responses"])


async def test_the_document_is_served(app):
    response = await app.test_client().get("/openapi.json")
    document = await response.get_json()
    assert document["openapi"] == "3.1.0"
    assert "/v1/chat/completions" in document["paths"]


async def test_the_page_loads_nothing_from_elsewhere(app):
    client = app.test_client()
    for name in ("", "/docs.js", "/docs.css"):
        response = await client.get(f"/docs{name}")
        assert response.status_code == 200
        text = await response.get_data(as_text=True)
        assert "http://" not in text
        assert "https://" not in text
        assert "'self'" in response.headers["content-security-policy"]


async def test_the_documentation_can_be_switched_off():
    app = create_app(make_state(ServerSettings(disable_docs=True), "m"))
    for path in ("/docs", "/docs/docs.js", "/openapi.json"):
        assert (await app.test_client().get(path)).status_code == 404
    assert "/docs" not in make_document(ServerSettings(disable_docs=True), "1")["paths"]


def test_the_page_of_endpoints_is_in_step():
    assert (ROOT / "docs" / "endpoints.md").read_text() == endpoints_doc.make_page()
