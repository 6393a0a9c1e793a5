"""SVI as functions of a state: no store, no stream of randomness, nothing but what is handed in."""

from __future__ import annotations

from aleator_svi_elbo.functional_elbo import elbo
from aleator_svi_elbo.functional_state import SVIState
from aleator_svi_elbo.functional_svi import SVI

__all__ = ["SVI", "SVIState", "elbo"]
