"""What all attempts to carry a request out have in common."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "idempotency_0002"
down_revision = "idempotency_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; a request that is under way has none, and its next attempt gets one."""
    op.add_column(
        "idempotency_keys", sa.Column("origin", sa.String(128), nullable=False, server_default="")
    )
