"""Say what an estimator will do with a model and a guide, site by site, before the first step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from aleator import randomness
from aleator.distributions import Independent, MaskedDistribution
from aleator.errors import ModelGuideMismatchError, UnsupportedModelError
from aleator.handlers.replay import ReplayMessenger
from aleator.handlers.trace import TraceMessenger
from aleator.infer.checks import check_match, check_shapes
from aleator.infer.explain_table import Explanation, SiteRow
from aleator.infer.gradient_rules import RuledDraws, applied_rule, refusals, rules_of
from aleator.infer.structure import annotate
from aleator.params import ParamStore, current_store
from aleator.runtime import Run
from aleator.scoring import is_deterministic, plate_scale
from aleator.trace import Trace
from aleator.validation import PendingChecks

if TYPE_CHECKING:
    from aleator.infer.estimator import AbstractEstimator
    from aleator.sites import Site

__all__ = ["explain"]

Program = Callable[..., Any]
Columns = Mapping[str, Mapping[str, str]]


def explain(model: Program, guide: Program, estimator: AbstractEstimator, /, *args: Any, **kwargs: Any) -> Explanation:  # noqa: ANN401  # the programs' own
    """Return a table of the sites of both programs, with what the estimator does at each, and what it would refuse.

    The programs run a few times, on a copy of the store: no parameter is created, and the stream of randomness is left
    as it was, and so are the buffers in the store. Only a module that the store does not know yet may keep what its
    forward pass writes into itself, such as a running mean.

    Args:
        model, guide: the programs.
        estimator: any estimator; ``AbstractEstimator.explain_sites`` gives its columns. Of a compiled one the estimator
            inside is explained, and below the table is said what compiling came to so far.
        args, kwargs: passed to the programs.

    Returns:
        ``str(explanation)`` is an aligned table, ``explanation.rows`` the same as data, ``explanation.problems`` what
        the first step would raise.

    Raises:
        Exception: what the programs themselves raise.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> from aleator.infer import AbstractEstimator, Capabilities, Estimate, explain
        >>> class OneSample(AbstractEstimator):
        ...     capabilities = Capabilities()
        ...     def estimate(self, model, guide, /, *args, **kwargs):
        ...         q = handlers.trace(guide).get_trace(*args, **kwargs)
        ...         p = handlers.trace(handlers.replay(model, trace=q)).get_trace(*args, **kwargs)
        ...         loss = q.log_prob_sum() - p.log_prob_sum()
        ...         return Estimate(loss.detach(), loss)
        ...     def __repr__(self):
        ...         return "OneSample()"
        >>> def model(data):
        ...     z = aleator.sample("z", dist.Bernoulli(0.5))
        ...     with aleator.plate("data", 10, subsample=[0, 1]) as rows:
        ...         aleator.sample("x", dist.Normal(z, 1.0), obs=data[rows])
        >>> def guide(data):
        ...     aleator.sample("z", dist.Bernoulli(logits=aleator.param("logit", torch.tensor(0.0))))
        >>> print(explain(model, guide, OneSample(), torch.zeros(10)))  # doctest: +ELLIPSIS
        OneSample()
        site  in     role      plates         distribution  gradient  scale  problem
        z     guide  latent                   Bernoulli     score            yes
        z     model  latent                   Bernoulli                      yes
        x     model  observed  data[2 of 10]  Normal (2)              1 x 5
        <BLANKLINE>
        The first step would raise:
        - guide site 'z' has no reparameterized draw (Bernoulli), and OneSample needs one ...
    """
    name = repr(estimator)
    estimator, said = estimator.explained_by(model, guide)
    problems: dict[str, None] = {}
    columns: Columns = {}
    sums: Sequence[str] = ()
    own = None
    with randomness.preserve(), _copied_store(), torch.enable_grad():
        with Run(checks=PendingChecks(keep=False)):
            with _noting(problems):
                own = estimator.explain_run(model, guide, *args, **kwargs)
            model_trace, guide_trace = own or _trace(model, guide, estimator, args, kwargs, problems)
            plain = (model, guide, args, kwargs) if own is None else None
            columns = _judge(estimator, plain, model_trace, guide_trace, problems)
            with _noting(problems):
                sums = estimator.explain_sums(model_trace, guide_trace) if own is not None else ()
        with _noting(problems), Run():
            estimator.estimate(model, guide, *args, **kwargs)
    found = tuple(problems)
    rows = [
        _row(site, program, guide_trace, columns, found)
        for program, trace in (("guide", guide_trace), ("model", model_trace))
        for site in trace.nodes.values()
        if site.type == "sample" and not is_deterministic(site)
    ]
    return Explanation(name, tuple(rows), found, (*sums, *said))


def _trace(
    model: Program,
    guide: Program,
    estimator: AbstractEstimator,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    problems: dict[str, None],
) -> tuple[Trace, Trace]:
    """Run the pair; where the model cannot run on the guide's draws, its sites up to there are what there is."""
    with RuledDraws(rules_of(estimator)), TraceMessenger() as guide_trace:
        guide(*args, **kwargs)
    model_trace = Trace()
    try:
        with TraceMessenger() as model_trace, ReplayMessenger(trace=guide_trace):
            model(*args, **kwargs)
    except (ModelGuideMismatchError, UnsupportedModelError) as error:
        problems[_first_line(error)] = None
    return model_trace, guide_trace


def _judge(
    estimator: AbstractEstimator,
    plain: tuple[Program, Program, tuple[Any, ...], Mapping[str, Any]] | None,
    model_trace: Trace,
    guide_trace: Trace,
    problems: dict[str, None],
) -> Columns:
    """Note what does not fit, and return the estimator's own columns."""
    for _, reason in refusals(estimator, model_trace, guide_trace):
        problems[reason] = None
    with _noting(problems):
        check_match(model_trace, guide_trace)
    for trace, role in ((guide_trace, "guide"), (model_trace, "model")):
        with _noting(problems):
            check_shapes(trace, role)
    with _noting(problems):
        if plain is not None:
            annotate(*plain, model_trace, guide_trace)
        return estimator.explain_sites(model_trace, guide_trace)
    return {}


@contextmanager
def _noting(problems: dict[str, None]) -> Iterator[None]:
    """Note what a block raises about the programs, and go on after it."""
    try:
        yield
    except (ValueError, TypeError, NotImplementedError) as error:
        problems[_first_line(error)] = None


def _first_line(error: Exception) -> str:
    """Leave out the table of shapes that some messages end with."""
    return str(error).partition("\n")[0]


@contextmanager
def _copied_store() -> Iterator[None]:
    """Run a block in a store of its own, which has the parameters of the current one and copies of its buffers."""
    outer, inner = current_store(), ParamStore()
    for name, leaf in outer.named_parameters():
        inner.register(name, leaf, outer.constraint(name))
    kept = {name: (buffer, buffer.clone()) for name, buffer in outer.buffers.items()}
    for name, (_, copy) in kept.items():
        inner.buffers[name] = copy
    with inner:
        try:
            yield
        finally:
            for buffer, copy in kept.values():
                with torch.no_grad():
                    buffer.copy_(copy)


def _row(site: Site, program: str, guide_trace: Trace, columns: Columns, problems: tuple[str, ...]) -> SiteRow:
    # What an estimator says of a latent site, it says of its draw; that is in the guide.
    here = program == "guide" or site.name not in guide_trace.nodes
    more = dict(columns.get(site.name, {})) if here else {}
    has_draw = program == "guide" and not site.is_observed
    return SiteRow(
        site.name,
        program,
        "observed" if site.is_observed else "auxiliary" if site.infer.get("is_auxiliary") else "latent",
        site.frames,
        _family(site.fn),
        tuple(getattr(site.fn, "batch_shape", ())),
        tuple(getattr(site.fn, "event_shape", ())),
        more.pop("gradient", applied_rule(site) if has_draw else ""),
        more.pop("kl", ""),
        more.pop("score costs", ""),
        _scale(site),
        _shown(site.mask, {None: "", True: "", False: "nothing counts"}),
        more.pop("baseline", ""),
        more,
        tuple(problem for problem in problems if repr(site.name) in problem),
    )


def _family(fn: Any) -> str:  # noqa: ANN401  # any distribution, or a callable
    """Name a distribution by what it wraps, and say that it is masked."""
    if isinstance(fn, MaskedDistribution):
        return f"masked {_family(fn.base_dist)}"
    return _family(fn.base_dist) if isinstance(fn, Independent) else type(fn).__name__


def _scale(site: Site) -> str:
    plates = plate_scale(site)
    own = site.scale
    if not isinstance(own, Tensor) and own == 1.0 and plates == 1.0:
        return ""
    return f"{_shown(own, {})} x {plates:g}"


def _shown(value: Any, words: Mapping[Any, str]) -> str:  # noqa: ANN401  # a number, a truth value, a tensor
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)}" if value.dim() else "tensor"
    return words[value] if value in words else f"{value:g}"
