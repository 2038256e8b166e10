"""Claims of MCP calls belong to a project, not to a conversation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "responses_0004"
down_revision = "responses_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table and move what the one before it has."""
    op.create_table(
        "mcp_claims",
        sa.Column("project_id", sa.String(128), nullable=False),
        sa.Column("subject_id", sa.String(128), nullable=False),
        sa.Column("response_id", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "subject_id", name="pk_mcp_claims"),
    )
    op.create_index("ix_mcp_claims_response_id", "mcp_claims", ["response_id"])
    op.execute(
        "INSERT INTO mcp_claims (project_id, subject_id, response_id) "
        "SELECT responses.project_id, approval_request_id, MIN(response_id) "
        "FROM mcp_approvals JOIN responses ON responses.id = mcp_approvals.response_id "
        "GROUP BY responses.project_id, approval_request_id"
    )
    op.drop_table("mcp_approvals")
