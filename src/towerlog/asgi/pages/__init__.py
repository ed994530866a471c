"""The operator's pages: is it alive, is it ready, what does it count, what can be asked of it, and by whom."""

from __future__ import annotations

from towerlog.asgi.pages.health import HealthPages
from towerlog.asgi.pages.metrics import MetricsPage
from towerlog.asgi.pages.static import StaticPages
from towerlog.asgi.pages.stream_tickets import TicketsPage
from towerlog.asgi.pages.whoami import WHOAMI
from towerlog.asgi.routes import PageRoute


class Pages:
    """All pages of one application."""

    def __init__(self, *, metrics_public: bool) -> None:
        """Each is told later what it is about."""
        self.health = HealthPages()
        self.metrics = MetricsPage(is_public=metrics_public)
        self.static = StaticPages()
        self.tickets = TicketsPage()

    def routes(self) -> tuple[PageRoute, ...]:
        """In the order of the OpenAPI document."""
        return (*self.health.routes(), self.metrics.route(), *self.static.routes(), WHOAMI, self.tickets.route())
