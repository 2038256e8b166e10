"""Which response took up the answer to a request for approval."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "responses_0003"
down_revision = "responses_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "mcp_approvals",
        sa.Column("conversation_id", sa.String(128), nullable=False),
        sa.Column("approval_request_id", sa.String(128), nullable=False),
        sa.Column("response_id", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", "approval_request_id", name="pk_mcp_approvals"),
    )
    op.create_index("ix_mcp_approvals_response_id", "mcp_approvals", ["response_id"])
