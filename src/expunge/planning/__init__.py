"""Plans: which routes a request can take, what each guarantees, and what it will cost."""

from __future__ import annotations

from expunge.planning.choice import Choice, choose
from expunge.planning.routes import Live, Route, routes

__all__ = ["Choice", "Live", "Route", "choose", "routes"]
