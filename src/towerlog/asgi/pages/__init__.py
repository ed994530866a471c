"""The operator's pages: is it alive, is it ready, what does it count, what can be asked of it, and by whom."""

from __future__ import annotations

from pathlib import Path

from towerlog.asgi.pages.approvals.answer_links import AnswerLinkPages
from towerlog.asgi.pages.dashboard.screens import DashboardPages
from towerlog.asgi.pages.health import HealthPages
from towerlog.asgi.pages.mcp.page import McpPage
from towerlog.asgi.pages.metrics import MetricsPage
from towerlog.asgi.pages.push import PushPages
from towerlog.asgi.pages.sign_in.by_provider import ProviderPages
from towerlog.asgi.pages.sign_in.organisations import OrganisationPages
from towerlog.asgi.pages.sign_in.pages import SignInPages
from towerlog.asgi.pages.sign_in.provider import IdentityProvider, ProviderConfig
from towerlog.asgi.pages.static import StaticPages
from towerlog.asgi.pages.stream_tickets import TicketsPage
from towerlog.asgi.pages.whoami import WHOAMI
from towerlog.asgi.routes import PageRoute


class Pages:
    """All pages of one application."""

    def __init__(
        self, *, metrics_public: bool, built: Path | None = None, provider: ProviderConfig | None = None
    ) -> None:
        """Each is told later what it is about. `built`: the folder of the dashboard; None for the one of this package.

        Raises BadBuild, OSError.
        """
        self.health = HealthPages()
        self.metrics = MetricsPage(is_public=metrics_public)
        self.static = StaticPages()
        self.tickets = TicketsPage()
        self.push = PushPages()
        self.mcp = McpPage()
        self.links = AnswerLinkPages()
        self.provider = ProviderPages(None if provider is None else IdentityProvider(provider))
        self.sign_in = SignInPages(None if provider is None else provider.issuer)
        self.organisations = OrganisationPages()
        self.dashboard = DashboardPages(built)

    def routes(self) -> tuple[PageRoute, ...]:
        """In the order of the OpenAPI document."""
        own = (*self.health.routes(), self.metrics.route(), *self.static.routes())
        people = (*self.sign_in.routes(), *self.provider.routes(), *self.organisations.routes())
        more = (*people, *self.dashboard.routes())
        return (*own, WHOAMI, self.tickets.route(), *self.push.routes(), self.mcp.route(), *self.links.routes(), *more)
