"""Prometheus metrics."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from quart import Blueprint, Response

from api.context import server_state
from api.keys.auth import for_metrics

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@for_metrics
async def metrics() -> Response:
    """Everything that is counted, in Prometheus' text format 0.0.4."""
    body = server_state().metrics.exposition()
    return Response(body, headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})
