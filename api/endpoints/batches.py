"""Rows of batches in the table of endpoints."""

from __future__ import annotations

from api.endpoints.endpoint import Endpoint

TAG = "Batches"
ONE = "api.protocol.batches:BatchObject"

BATCHES = (
    Endpoint(
        method="POST",
        path="/v1/batches",
        summary="Have a file of requests answered.",
        tag=TAG,
        body="api.protocol.batches:CreateBatchRequest",
        response=ONE,
    ),
    Endpoint(
        method="GET",
        path="/v1/batches",
        summary="Batches, in pages.",
        tag=TAG,
        query="api.protocol.batches:BatchesQuery",
        response="api.protocol.batches:BatchList",
    ),
    Endpoint(
        method="GET",
        path="/v1/batches/{batch_id}",
        summary="One batch.",
        tag=TAG,
        response=ONE,
    ),
    Endpoint(
        method="POST",
        path="/v1/batches/{batch_id}/cancel",
        summary="Begin no more lines of a batch; those under way end within ten minutes.",
        tag=TAG,
        response=ONE,
    ),
)
