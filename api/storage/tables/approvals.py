"""Which response took up the answer to a request for approval."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from api.storage.base import ID, Base


class ApprovalRow(Base):
    """One request for approval of a conversation, answered.

    Attributes:
        conversation_id: whose items the request for approval is among.
        response_id: the response that makes the call, or was told not to.
    """

    __tablename__ = "mcp_approvals"

    conversation_id: Mapped[str] = mapped_column(ID, primary_key=True)
    approval_request_id: Mapped[str] = mapped_column(ID, primary_key=True)
    response_id: Mapped[str] = mapped_column(ID, index=True)
