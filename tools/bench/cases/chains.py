"""Hidden Markov chains, as a user of each library writes them, and what is done with them: training, decoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.cases import training
from bench.contract import Program

__all__ = ["Chain"]


@dataclass(frozen=True)
class Chain:
    """The size of a chain: so many steps, states and sequences."""

    steps: int
    states: int
    sequences: int

    def data(self) -> tuple[Tensor, Tensor, Tensor]:
        """Observations by step and sequence, and where transitions and locations start."""
        source = torch.Generator().manual_seed(self.steps)
        observed = 3.0 * torch.randn(self.steps, self.sequences, generator=source)
        transition = (torch.rand(self.states, self.states, generator=source) + 3.0 * torch.eye(self.states)).softmax(-1)
        return observed, transition, torch.linspace(-4.0, 4.0, self.states)

    def model_in_aleator(self) -> Callable[[], list[Tensor]]:
        """The chain in Aleator; it returns its states."""
        import aleator
        import aleator.distributions as dist

        observed, start, places = self.data()

        def model() -> list[Tensor]:
            transition = aleator.param("transition", start, constraint=dist.constraints.simplex)
            locs = aleator.param("locs", places)
            states: list[Tensor] = []
            with aleator.plate("sequences", self.sequences):
                for t in aleator.markov(range(self.steps)):
                    law = dist.Categorical(transition[states[-1]] if states else transition[0])
                    states.append(aleator.sample(f"state_{t}", law, infer={"enumerate": "parallel"}))
                    aleator.sample(f"observed_{t}", dist.Normal(locs[states[-1]], 1.0), obs=observed[t])
            return states

        return model

    def model_in_pyro(self) -> Callable[[], list[Tensor]]:
        """The same in Pyro."""
        import pyro
        import pyro.distributions as dist

        observed, start, places = self.data()

        def model() -> list[Tensor]:
            transition = pyro.param("transition", start, constraint=dist.constraints.simplex)
            locs = pyro.param("locs", places)
            states: list[Tensor] = []
            with pyro.plate("sequences", self.sequences):
                for t in pyro.markov(range(self.steps)):
                    law = dist.Categorical(transition[states[-1]] if states else transition[0])
                    states.append(pyro.sample(f"state_{t}", law, infer={"enumerate": "parallel"}))
                    pyro.sample(f"observed_{t}", dist.Normal(locs[states[-1]], 1.0), obs=observed[t])
            return states

        return model

    def training_in_aleator(self, validate: bool) -> Program:
        """A training step; no site is left to the guide."""
        from aleator.infer import TraceEnum_ELBO

        estimator = TraceEnum_ELBO(max_plate_nesting=1)
        return training.in_aleator(self.model_in_aleator(), _nothing, 0.01, validate, estimator)

    def training_in_pyro(self, validate: bool) -> Program:
        """The same in Pyro."""
        from pyro.infer import TraceEnum_ELBO

        estimator = TraceEnum_ELBO(max_plate_nesting=1)
        return training.in_pyro(self.model_in_pyro(), _nothing, 0.01, validate, estimator)

    def decoding_in_aleator(self, validate: bool, temperature: int) -> Program:
        """``infer_discrete``; the reading is the mean state, which draws of both libraries estimate."""
        import aleator
        from aleator.infer import infer_discrete

        aleator.enable_validation(validate)
        aleator.clear_param_store()
        run = infer_discrete(self.model_in_aleator(), first_available_dim=-2, temperature=temperature)
        return _decoding(run, aleator.set_rng_seed)

    def decoding_in_pyro(self, validate: bool, temperature: int) -> Program:
        """The same in Pyro."""
        import pyro
        from pyro.infer import infer_discrete

        pyro.enable_validation(validate)
        pyro.clear_param_store()
        run = infer_discrete(self.model_in_pyro(), first_available_dim=-2, temperature=temperature)
        return _decoding(run, pyro.set_rng_seed)


def _decoding(run: Callable[[], list[Tensor]], reseed: Callable[[int], None]) -> Program:
    def reading() -> float:
        with torch.no_grad():
            return float(torch.stack(run()).float().mean())

    def decode() -> list[Tensor]:
        with torch.no_grad():
            return run()

    return Program(run=decode, reading=reading, reseed=reseed)


def _nothing() -> None:
    """A guide without sites."""
