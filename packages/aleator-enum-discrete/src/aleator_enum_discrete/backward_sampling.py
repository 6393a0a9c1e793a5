"""Draw the enumerated sites of a recorded run from their joint posterior, wherever the program runs again."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from aleator.handlers.replay import ReplayMessenger
from aleator.messenger import Messenger
from aleator_enum_discrete.posterior_tables import GivenValues, assign, chosen_values, posterior_tables
from aleator_svi_elbo.tracing import SharedSubsample

if TYPE_CHECKING:
    from aleator.sites import Site
    from aleator.trace import Trace

__all__ = ["BackwardSampleMessenger"]


@final
class BackwardSampleMessenger(Messenger):
    """Runs a model on a joint posterior draw of the sites that it was enumerated over: a new draw at each entry.

    Args:
        enum_trace: a run of the model under ``handlers.enum``, inside ``handlers.trace``.
        guide_trace: the guide's run that the model's was replayed against; its values are given again.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> from aleator.infer import BackwardSampleMessenger, config_enumerate
        >>> @config_enumerate
        ... def model():
        ...     z = aleator.sample("z", dist.Categorical(torch.tensor([0.5, 0.5])))
        ...     aleator.sample("x", dist.Delta(torch.tensor([0.0, 7.0])[z]), obs=torch.tensor(7.0))
        ...     return z
        >>> guide_trace = handlers.trace(lambda: None).get_trace()
        >>> enum_trace = handlers.trace(handlers.enum(model, first_available_dim=-1)).get_trace()
        >>> with BackwardSampleMessenger(enum_trace, guide_trace):
        ...     model()
        tensor(1)
    """

    def __init__(self, enum_trace: Trace, guide_trace: Trace) -> None:
        self._enum_trace = enum_trace
        self._guide_trace = guide_trace
        self._given: GivenValues | None = None
        self._replayed = ReplayMessenger(trace=guide_trace)
        self._shared = SharedSubsample((enum_trace,))

    def begin(self) -> BackwardSampleMessenger:
        """Draw, and return a handler that holds the draw."""
        entry = BackwardSampleMessenger(self._enum_trace, self._guide_trace)
        found = posterior_tables(self._enum_trace)
        values = chosen_values(self._enum_trace, found, assign(found, temperature=1))
        drawn = {name: values[name] for name in found.sites}
        entry._given = GivenValues(drawn)
        return entry

    def process_sample(self, site: Site) -> None:
        """Give the draw, or the guide's value."""
        assert self._given is not None  # begin has drawn
        self._given.process_sample(site)
        self._replayed.process_sample(site)

    def process_subsample(self, site: Site) -> None:
        """Give the minibatch of the run."""
        self._shared.process_subsample(site)
