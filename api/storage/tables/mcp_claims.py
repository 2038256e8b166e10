"""What of MCP servers is done once, and which response does it."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from api.storage.base import ID, Base


class McpClaimRow(Base):
    """One claim. Its key makes a second one impossible.

    Attributes:
        subject_id: the request for approval whose call is made; or the response, of a request that
            is run again after a crash, that began to call.
        response_id: the response that does it.
    """

    __tablename__ = "mcp_claims"

    project_id: Mapped[str] = mapped_column(ID, primary_key=True)
    subject_id: Mapped[str] = mapped_column(ID, primary_key=True)
    response_id: Mapped[str] = mapped_column(ID, index=True)
