"""Exact sums over discrete sites: contraction of tables on graphs with plates and time.

Names are imported when they are first used, so that reading this plugin's manifest stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aleator.plugins import lazy_exports

if TYPE_CHECKING:
    from aleator_enum_discrete.backward_sampling import BackwardSampleMessenger
    from aleator_enum_discrete.configuration import config_enumerate
    from aleator_enum_discrete.enum_messenger import EnumMessenger, enum
    from aleator_enum_discrete.infer_discrete import infer_discrete
    from aleator_enum_discrete.trace_enum_elbo import TraceEnum_ELBO

__all__ = [
    "BackwardSampleMessenger",
    "EnumMessenger",
    "TraceEnum_ELBO",
    "config_enumerate",
    "enum",
    "infer_discrete",
]

_HOMES = {
    "BackwardSampleMessenger": "backward_sampling",
    "EnumMessenger": "enum_messenger",
    "TraceEnum_ELBO": "trace_enum_elbo",
    "config_enumerate": "configuration",
    "enum": "enum_messenger",
    "infer_discrete": "infer_discrete",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
