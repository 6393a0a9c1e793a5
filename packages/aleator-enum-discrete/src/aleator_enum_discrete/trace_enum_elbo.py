"""The evidence lower bound with discrete sites summed out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

from aleator.errors import AleatorWarning
from aleator.plugins import Capabilities
from aleator_enum_discrete.elbo_terms import enumerated_terms
from aleator_enum_discrete.enumerated_runs import trace_enumerated
from aleator_enum_discrete.explanation import explained_sites, explained_sums
from aleator_enum_discrete.program_pair import ProgramPair
from aleator_svi_elbo import ELBO, ParticleTerms
from aleator_svi_elbo.tracing import Pair

if TYPE_CHECKING:
    from aleator.messenger import Messenger
    from aleator.trace import Trace

__all__ = ["TraceEnum_ELBO"]

Program = Callable[..., Any]


@final
@dataclass(frozen=True, repr=False)
class TraceEnum_ELBO(ELBO):  # the field's name for it
    """Estimate the evidence lower bound; discrete sites marked for enumeration are summed out exactly.

    A site of the model that the guide lacks is summed out inside the logarithm; one of the guide, outside. Marks are
    ``infer={"enumerate": "parallel"}``, on both sides; ``"sequential"`` in a guide, which runs the programs again for
    each value; and ``"num_samples": n`` beside ``"parallel"`` in a guide, for several draws in place of all values.
    ``config_enumerate`` sets them for a whole program. Other sites of the guide are differentiated along their draw, or
    by their score. Where everything is summed out, the loss has no noise.

    Arguments are those of ``ELBO``; enumerated sites take dims left of ``max_plate_nesting``.

    Raises:
        UnsupportedModelError: naming the sites and plates; sums that plates or scales do not allow.

    References:
        F. Obermeyer et al., "Tensor Variable Elimination for Plated Factor Graphs" (2019).
        J. Foerster et al., "DiCE: The Infinitely Differentiable Monte Carlo Estimator" (2018).

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator.infer import TraceEnum_ELBO, config_enumerate
        >>> @config_enumerate
        ... def model():
        ...     z = aleator.sample("z", dist.Bernoulli(0.5))
        ...     aleator.sample("x", dist.Bernoulli(0.25 + 0.5 * z), obs=torch.tensor(1.0))
        >>> round(TraceEnum_ELBO(max_plate_nesting=0).loss(model, lambda: None), 4)  # -log 0.5
        0.6931
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        non_reparam=True,
        enumeration=True,
        vectorized_particles=True,
        subsampling=True,
        compilable=True,
        gradient_rules=frozenset({"pathwise", "score", "stl"}),
        bound="elbo",
    )

    def trace_particle(
        self,
        model: Program,
        guide: Program,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        around: Sequence[Messenger] = (),
    ) -> tuple[Pair, ...]:
        """Run the programs under enumeration: once for each value of what is enumerated sequentially."""
        runs = trace_enumerated(self, ProgramPair(model, guide, args, kwargs, around))
        if self.strict_enumeration_warning and not runs.has_enumerated:
            warnings.warn(
                f"{type(self).__name__} found no site to enumerate; mark sites by config_enumerate or by "
                f"infer={{'enumerate': 'parallel'}}, use Trace_ELBO, or pass strict_enumeration_warning=False",
                AleatorWarning,
                stacklevel=2,
            )
        return runs.pairs

    def particle_terms(self, model_trace: Trace, guide_trace: Trace) -> ParticleTerms:
        """Return the expectation of log p - log q under what is enumerated; its gradient is that of the bound."""
        return enumerated_terms(model_trace, guide_trace)

    def explain_run(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> tuple[Trace, Trace] | None:  # noqa: ANN401  # the programs' own
        """Run the programs under enumeration, the first of the sequential values alone."""
        return trace_enumerated(self, ProgramPair(model, guide, args, kwargs)).pairs[0]

    def explain_sites(self, model_trace: Trace, guide_trace: Trace) -> Mapping[str, Mapping[str, str]]:
        """Return how each site is enumerated and, where it is drawn, differentiated."""
        return explained_sites(model_trace, guide_trace)

    def explain_sums(self, model_trace: Trace, guide_trace: Trace) -> Sequence[str]:
        """Return the order in which each sum of the model is done, with its multiplications and memory."""
        return explained_sums(model_trace, guide_trace)

    def compute_marginals(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401  # the programs' own
        """Return the posterior of each site that the model enumerates, given the guide's draws and the data.

        Returns:
            By site a distribution over its plates: of the site's family for ``Bernoulli``, ``Categorical`` and
            ``OneHotCategorical``; else a ``Categorical`` over the site's support, in the order of its values.

        Raises:
            ValueError: the guide enumerates, or there are several particles.
        """
        from aleator_enum_discrete.posterior import marginals_of

        return marginals_of(self, ProgramPair(model, guide, args, kwargs))

    def sample_posterior(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # what the model returns
        """Return what the model returns on a draw of its enumerated sites from their joint posterior.

        Raises:
            ValueError: the guide enumerates, or there are several particles.
        """
        from aleator_enum_discrete.posterior import model_on_posterior_draw

        return model_on_posterior_draw(self, ProgramPair(model, guide, args, kwargs))
