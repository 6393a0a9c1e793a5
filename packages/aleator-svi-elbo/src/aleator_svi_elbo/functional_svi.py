"""SVI whose every call maps a state to the next one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint
from torch.utils._pytree import tree_leaves, tree_map

from aleator.errors import ParameterError
from aleator.handlers.replay import ReplayMessenger
from aleator.handlers.trace import TraceMessenger
from aleator.infer import AbstractEstimator, pure_step
from aleator.infer.step import Step
from aleator.messenger import Messenger
from aleator.params import ParamStore
from aleator.randomness import RandomSource, preserve
from aleator.randomness import rng as drawing_from
from aleator.runtime import Run
from aleator.sites import Site
from aleator.validation import PendingChecks
from aleator_svi_elbo.functional_elbo import ElboLikeLoss, Program, programs
from aleator_svi_elbo.functional_state import SVIState, with_randomness
from aleator_svi_elbo.losses import as_estimator, checked_optimizer

__all__ = ["SVI"]

Arguments = tuple[Any, ...]
Advance = Callable[..., tuple[SVIState, Tensor] | None]


@final
class SVI:
    """Stochastic variational inference as functions: a state and arguments in, the next state and a loss out.

    The object holds the configuration, and the constraints of the parameters it has met; a state holds all else, its
    randomness too. The same state gives the same result, in any process. No ambient store is read or written. States
    are pytrees, so ``torch.func.vmap(svi.update, in_dims=(0, None), randomness="different")`` trains many restarts.

    Values are not validated, since that would read them back at each step: see :meth:`stable_update`.

    Args:
        model, guide: the programs. A parameter of both begins as the guide says.
        loss: an estimator, a registered name, or a callable with the signature of ``elbo``.
        optim: an optimizer of ``aleator.optim`` that has a pure form.
        kwargs: static keywords of model and guide.

    Raises:
        ValueError: naming the optimizer, where it has no pure form.
        TypeError: a program, the loss or the optimizer is none.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator_svi_elbo.functional import SVI
        >>> from aleator.optim import Adam
        >>> def model(mean):
        ...     aleator.sample("z", dist.Normal(mean, 1.0))
        >>> def guide():
        ...     aleator.sample("z", dist.Normal(aleator.param("loc", torch.tensor(0.0)), 1.0))
        >>> svi = SVI(model, guide, "Trace_ELBO", Adam(lr=0.1))
        >>> state, get_params = svi.init(0, (torch.tensor(3.0),))
        >>> state, losses = svi.run(state, 200, (torch.tensor(3.0),))
        >>> losses.shape, abs(get_params(state)["loc"].item() - 3.0) < 0.1
        (torch.Size([200]), True)
    """

    def __init__(self, model: Program, guide: Program, loss: Any, optim: Any, **kwargs: Any) -> None:  # noqa: ANN401  # any of the forms
        for what, program in (("model", model), ("guide", guide)):
            if not callable(program):
                raise TypeError(f"SVI expects a callable as {what}, but found {type(program).__name__}")
        self.model = model
        self.guide = guide
        self.optim = checked_optimizer(optim)
        self.programs = programs(model, guide, kwargs)
        is_function = callable(loss) and not isinstance(loss, (AbstractEstimator, str, type))
        self.loss: AbstractEstimator = (
            ElboLikeLoss(loss, model, guide, dict(kwargs)) if is_function else as_estimator(loss)
        )
        self._step: Step = pure_step(self.loss, self.optim, *self.programs)
        self._advance: Advance | None = None
        self._advance_many: Advance | None = None
        self._store = ParamStore()

    def init(
        self,
        rng: int | torch.Generator,
        model_args: Arguments = (),
        guide_args: Arguments = (),
        init_params: Mapping[str, Tensor] | None = None,
    ) -> tuple[SVIState, Callable[[SVIState], dict[str, Tensor]]]:
        """Run the guide and the model once, and return the first state with :meth:`get_params`.

        Args:
            rng: a seed, or a generator that is drawn from.
            model_args, guide_args: the programs' arguments.
            init_params: constrained first values in the place of the programs'.
        """
        source = RandomSource(rng)
        store = ParamStore()
        with store, drawing_from(source), torch.no_grad():
            self._run_both(model_args, guide_args)
            for name, value in (init_params or {}).items():
                if name not in store:
                    raise ParameterError(f"init_params has {name!r}, but no program has a parameter of that name")
                store[name] = value
        params = {name: leaf.detach().clone() for name, leaf in store.named_parameters()}
        self._know({name: store.constraint(name) for name in store}, params)
        buffers = {name: value.detach().clone() for name, value in store.buffers.items()}
        return SVIState(params, self.optim.init(params), buffers, source.get_state()), self.get_params

    def update(
        self, state: SVIState, model_args: Arguments = (), guide_args: Arguments = ()
    ) -> tuple[SVIState, Tensor]:
        """Return the state after one step, and the loss before it; ``state`` stays as it is."""
        if self._advance is not None:
            known = self._advance(self._store, state, (model_args, guide_args))
            if known is not None:
                return known
        self._learn_constraints(state, model_args, guide_args)

        def step() -> tuple[dict[str, Tensor], Any, dict[str, Tensor], Tensor]:
            with self._store:
                return self.step_function(state.params, state.optim_state, state.buffers, (model_args, guide_args))

        (params, optim_state, buffers, loss), after = with_randomness(state.rng, step)
        return SVIState(params, optim_state, buffers, after), loss

    def stable_update(
        self, state: SVIState, model_args: Arguments = (), guide_args: Arguments = ()
    ) -> tuple[SVIState, Tensor]:
        """Take a step as :meth:`update` does; where it gives NaN or infinity, keep parameters, optimizer and buffers.

        The randomness moves on all the same: the next step draws anew. Nothing is read on the host.
        """
        new, loss = self.update(state, model_args, guide_args)
        results = [leaf for leaf in tree_leaves((loss, new[:3])) if leaf.is_floating_point() or leaf.is_complex()]
        finite = torch.stack([leaf.isfinite().all() for leaf in results]).all()
        if new.buffers.keys() != state.buffers.keys():
            old_buffers = {name: state.buffers.get(name, torch.zeros_like(v)) for name, v in new.buffers.items()}
            state = state._replace(buffers=old_buffers)

        def chosen(one: Tensor, other: Tensor) -> Tensor:
            return torch.where(finite, one, other)

        kept: SVIState = tree_map(chosen, new._replace(rng={}), state._replace(rng={}))
        return kept._replace(rng=new.rng), loss

    def evaluate(self, state: SVIState, model_args: Arguments = (), guide_args: Arguments = ()) -> Tensor:
        """Return the loss under the randomness that the next :meth:`update` would use; the state stays as it is."""
        self._learn_constraints(state, model_args, guide_args)
        with torch.no_grad():
            return with_randomness(state.rng, lambda: self._loss(state, model_args, guide_args))[0]

    def get_params(self, state: SVIState) -> dict[str, Tensor]:
        """Return the constrained values of all parameters.

        Raises:
            ParameterError: this object has seen neither ``init`` nor a step with these parameters, so that it does not
                know their constraints.
        """
        unknown = sorted(state.params.keys() - set(self._store))
        if unknown:
            raise ParameterError(
                f"the constraint of parameter {unknown[0]!r} is not known to this SVI yet; call init, update or "
                f"evaluate on it once, or SVI.init with the programs' arguments"
            )
        with self._store.bind(state.params):
            return {name: self._store[name] for name in state.params}

    def run(
        self, state: SVIState, num_steps: int, model_args: Arguments = (), guide_args: Arguments = ()
    ) -> tuple[SVIState, Tensor]:
        """Return the state after ``num_steps`` steps, and their losses, of shape ``(num_steps,)``."""
        if num_steps < 0:
            raise ValueError(f"run: num_steps must not be negative, but is {num_steps}")
        losses: list[Tensor] = []
        for taken in range(num_steps):
            if self._advance_many is not None:
                known = self._advance_many(self._store, state, (model_args, guide_args), num_steps - taken)
                if known is not None:
                    return known[0], torch.cat([torch.stack(losses), known[1]]) if losses else known[1]
            state, loss = self.update(state, model_args, guide_args)
            losses.append(loss)
        return state, torch.stack(losses) if losses else torch.zeros(0)

    @property
    def step_function(self) -> Step:
        """The pure step that :meth:`update` applies; a compiler puts its own in its place by :meth:`with_step`."""
        return self._step

    def with_step(self, step: Step) -> SVI:
        """Return a twin that knows the same constraints and applies another function as its pure step.

        Where the function has methods ``advance(store, state, args)`` and ``advance_many(store, state, args, steps)``,
        they are asked first: they return the state after a step and its loss, or after some steps and their losses as a
        vector, and ``None`` where the step has to be taken by itself.
        """
        twin = object.__new__(SVI)
        twin.__dict__.update(self.__dict__)
        twin._step = step
        twin._advance = getattr(step, "advance", None)
        twin._advance_many = getattr(step, "advance_many", None)
        return twin

    def _loss(self, state: SVIState, model_args: Arguments, guide_args: Arguments) -> Tensor:
        with self._store, Run(checks=PendingChecks(keep=False)), self._store.bind(state.params, state.buffers):
            parts = [part.loss for part in self.loss.estimates(*self.programs, model_args, guide_args)]
        return torch.stack(parts).sum()

    def _run_both(self, model_args: Arguments, guide_args: Arguments) -> None:
        model, guide = self.programs
        with Run():
            with TraceMessenger() as guide_trace:
                guide(model_args, guide_args)
            with ReplayMessenger(trace=guide_trace):
                model(model_args, guide_args)

    def _learn_constraints(self, state: SVIState, model_args: Arguments, guide_args: Arguments) -> None:
        """Ask the programs for the constraints of a state that comes from another process."""
        if all(name in self._store for name in state.params):
            return
        recorder = _ConstraintRecorder()
        with (
            preserve(),
            self._store,
            self._store.bind(state.params, state.buffers),
            drawing_from(0),
            torch.no_grad(),
            recorder,
        ):
            self._run_both(model_args, guide_args)
        known = {name: recorder.constraints.get(name, constraints.real) for name in state.params}
        self._know(known, state.params)

    def _know(self, known: Mapping[str, Constraint], params: Mapping[str, Tensor]) -> None:
        for name, constraint in known.items():
            if name in self._store:
                del self._store[name]
            self._store.register(name, torch.zeros(params[name].shape, requires_grad=True), constraint)


@final
class _ConstraintRecorder(Messenger):
    """Notes the constraint that a program states first for each parameter."""

    def __init__(self) -> None:
        self.constraints: dict[str, Constraint] = {}

    def postprocess_param(self, site: Site) -> None:
        constraint = (site.kwargs or {}).get("constraint")
        if constraint is not None:
            self.constraints.setdefault(site.name, constraint)
