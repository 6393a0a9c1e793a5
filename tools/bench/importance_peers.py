"""Times 10,000 importance samples of eight schools in peers that the harness has no column for.

    python tools/bench/importance_peers.py pyro-loop     # Pyro's Importance: 1,000 samples, times ten
    python tools/bench/importance_peers.py numpyro       # NumPyro's log density under vmap and jit, on the CPU

Prints milliseconds of processor time, the median of several runs on one thread; compilation is not counted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

EFFECTS = (28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0)
ERRORS = (15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0)
SAMPLES = 10_000


def pyro_loop() -> tuple[Callable[[], object], int, float]:
    """Pyro's ``Importance``, a tenth of the samples."""
    import pyro
    import pyro.distributions as dist
    import torch
    from pyro.infer import Importance

    effects, errors = torch.tensor(EFFECTS), torch.tensor(ERRORS)

    def model() -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
        tau = pyro.sample("tau", dist.HalfCauchy(5.0))
        with pyro.plate("schools", 8):
            eta = pyro.sample("eta", dist.Normal(0.0, 1.0))
            pyro.sample("effect", dist.Normal(mu + tau * eta, errors), obs=effects)

    def guide() -> None:
        pyro.sample("mu", dist.Normal(4.4, 3.3))
        pyro.sample("tau", dist.LogNormal(0.9, 1.0))
        with pyro.plate("schools", 8):
            pyro.sample("eta", dist.Normal(0.1, 1.0))

    return (lambda: Importance(model, guide, num_samples=SAMPLES // 10).run()), 1, 10.0


def numpyro_vmap() -> tuple[Callable[[], object], int, float]:
    """NumPyro: guide and model seeded, ``log_density`` of both, under ``vmap`` and ``jit``."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from numpyro.handlers import seed, trace
    from numpyro.infer.util import log_density

    effects, errors = jnp.array(EFFECTS), jnp.array(ERRORS)

    def model() -> None:
        mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
        tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
        with numpyro.plate("schools", 8):
            eta = numpyro.sample("eta", dist.Normal(0.0, 1.0))
            numpyro.sample("effect", dist.Normal(mu + tau * eta, errors), obs=effects)

    def guide() -> None:
        numpyro.sample("mu", dist.Normal(4.4, 3.3))
        numpyro.sample("tau", dist.LogNormal(0.9, 1.0))
        with numpyro.plate("schools", 8):
            numpyro.sample("eta", dist.Normal(0.1, 1.0))

    def log_weight(key: object) -> tuple[object, object]:
        drawn = {
            name: site["value"]
            for name, site in trace(seed(guide, key)).get_trace().items()
            if site["type"] == "sample"
        }
        return log_density(model, (), {}, drawn)[0] - log_density(guide, (), {}, drawn)[0], drawn

    weigh = jax.jit(jax.vmap(log_weight))
    keys = jax.random.split(jax.random.PRNGKey(0), SAMPLES)
    return (lambda: jax.block_until_ready(weigh(keys))), 30, 1.0


def main(peer: str) -> None:
    """Print the figure."""
    run, repetitions, factor = {"pyro-loop": pyro_loop, "numpyro": numpyro_vmap}[peer]()
    run()
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    print(f"{peer}: {1e3 * factor * median(times):.2f} ms for {SAMPLES:,} samples")


if __name__ == "__main__":
    main(sys.argv[1])
