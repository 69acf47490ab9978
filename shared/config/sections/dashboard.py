"""`[dashboard]`: where the dashboard listens."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from shared.config import access
from shared.config.resume_rule import Rule
from shared.config.sections.base import Section


class DashboardConfig(Section):
    """Where the dashboard listens."""

    host: Annotated[str, Rule.SESSION] = Field(
        default="127.0.0.1", description="Address to bind; other machines reach it only if this is not a loopback."
    )
    port: Annotated[int, Rule.SESSION] = Field(
        default=8501,
        ge=0,
        le=65535,
        description="Port; the next free one is used, and said, when it is taken. 0 lets the system choose.",
    )
    trusted_hosts: Annotated[tuple[str, ...], BeforeValidator(access.host_names), Rule.SESSION] = Field(
        default=(),
        description="Names under which a proxy shows the dashboard; pages opened there may connect, with the token.",
    )
    base_path: Annotated[str, BeforeValidator(access.path_prefix), Rule.SESSION] = Field(
        default="",
        description="Path under which a proxy passes the dashboard on without removing it, such as /darkroom.",
    )
    frame_ancestors: Annotated[tuple[str, ...], BeforeValidator(access.sites), Rule.SESSION] = Field(
        default=(),
        description="Sites that may show the dashboard in a frame: self, https://gpu.example.org; none by default, so "
        "that no foreign page can lay its own buttons over it.",
    )
