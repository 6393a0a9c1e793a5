"""Programs with plates: whole, nested, subsampled, as loops, and dims used in turn."""

from __future__ import annotations

import torch

import aleator
import aleator.distributions as dist
from aleator_testing.problems.formulas import log_normal
from aleator_testing.problems.problem import PRIOR_LOGIT, Latent, Problem, draw, theta
from aleator_testing.problems.programs import ONE, X, named, needs

__all__ = ["event", "local", "nested", "plated", "sequential", "shared_dim", "subsampled"]

Y = torch.tensor([[0.3, -0.7], [1.1, 0.4]], dtype=torch.float64)


def plated(kind: str, inner: str | None = None) -> Problem:
    """A global draw, and a local one per datum that depends on it."""
    inner = inner or kind

    def model() -> None:
        b = draw(kind, "b")
        with aleator.plate("data", 2):
            z = draw(inner, "z")
            aleator.sample("x", dist.Normal(2.0 * z - b + theta()[-2], ONE), obs=X[:2])

    def guide() -> None:
        t = theta()
        b = draw(kind, "b", t[0])
        with aleator.plate("data", 2):
            draw(inner, "z", t[1:3] + b)

    b = Latent("b", kind, (), lambda v, t: t[0])
    z = Latent("z", inner, (2,), lambda v, t: t[1:3] + v["b"])
    return Problem(
        named("plate", kind, inner),
        model,
        guide,
        (b, z),
        lambda v, t: b.kl(v, t) + (z.kl(v, t) + log_normal(X[:2], 2.0 * v["z"] - v["b"] + t[-2], 1.0)).sum(),
        needs(kind, inner),
    )


def nested(kind: str, rows: str | None = None) -> Problem:
    """A plate at dim -2 around one at dim -1, with draws inside where they have no path, else beside a plate of one."""
    rows = rows or kind
    inner = rows == "bernoulli"

    def model() -> None:
        with aleator.plate("rows", 2, dim=-2):
            z = draw(rows, "z")
            with aleator.plate("columns", 2, dim=-1):
                w = draw(rows, "w") if inner else 0.0
                aleator.sample("y", dist.Normal(z + w + theta()[-2], ONE), obs=Y)
        if not inner:
            with aleator.plate("one", 1, dim=-2):
                draw(kind, "u")

    def guide() -> None:
        t = theta()
        with aleator.plate("rows", 2, dim=-2):
            z = draw(rows, "z", t[:2, None])
            if inner:
                with aleator.plate("columns", 2, dim=-1):
                    draw(rows, "w", t[2:4] * z)
        if not inner:
            with aleator.plate("one", 1, dim=-2):
                draw(kind, "u", t[4])

    z = Latent("z", rows, (2, 1), lambda v, t: t[:2, None])
    w = Latent("w", rows, (2, 2), lambda v, t: t[2:4] * v["z"])
    u = Latent("u", kind, (1, 1), lambda v, t: t[4].reshape(1, 1))

    def log_weight(v: dict[str, torch.Tensor], t: torch.Tensor) -> torch.Tensor:
        total = z.kl(v, t).sum() + (0.0 if inner else u.kl(v, t).sum())
        shift = v["w"] if inner else 0.0
        return total + log_normal(Y, v["z"] + shift + t[-2], 1.0).sum() + (w.kl(v, t).sum() if inner else 0.0)

    return Problem(
        named("nested", kind, rows), model, guide, (z, w) if inner else (z, u), log_weight, needs(kind, rows)
    )


def event(kind: str) -> Problem:
    """Draws of two elements each, in a plate: the event dim is right of the plate's."""

    def site(parameter: torch.Tensor | None) -> torch.Tensor:
        fn: dist.Distribution
        if kind == "normal":
            scale = ONE if parameter is None else theta()[-1].exp()
            fn = dist.Normal(torch.zeros(2, dtype=torch.float64) if parameter is None else parameter, scale)
        else:
            fn = dist.Bernoulli(
                logits=torch.full((2,), PRIOR_LOGIT, dtype=torch.float64) if parameter is None else parameter
            )
        value: torch.Tensor = aleator.sample("z", fn.to_event(1))
        return value

    def model() -> None:
        with aleator.plate("data", 2):
            z = site(None)
            aleator.sample("x", dist.Normal(z[..., 0] * (1.0 + z[..., 1]) + theta()[-2], ONE), obs=X[:2])

    def guide() -> None:
        with aleator.plate("data", 2):
            site(theta()[:4].reshape(2, 2))

    z = Latent("z", kind, (2, 2), lambda v, t: t[:4].reshape(2, 2))
    return Problem(
        f"event-{kind}",
        model,
        guide,
        (z,),
        lambda v, t: z.kl(v, t).sum(-1) + log_normal(X[:2], v["z"][:, 0] * (1.0 + v["z"][:, 1]) + t[-2], 1.0),
        needs(kind),
        per_datum=True,
    )


def subsampled(kind: str, inner: str | None = None) -> Problem:
    """A global draw, and two of three data per run."""
    inner = inner or kind

    def model() -> None:
        b = draw(kind, "b")
        with aleator.plate("data", 3, subsample_size=2) as rows:
            z = draw(inner, "z")
            aleator.sample("x", dist.Normal(2.0 * z - b + theta()[-2], ONE), obs=X[rows])

    def guide() -> None:
        t = theta()
        b = draw(kind, "b", t[0])
        with aleator.plate("data", 3, subsample_size=2) as rows:
            draw(inner, "z", t[1:4][rows] + b)

    b = Latent("b", kind, (), lambda v, t: t[0])
    z = Latent("z", inner, (3,), lambda v, t: t[1:4] + v["b"])
    return Problem(
        named("subsample", kind, inner),
        model,
        guide,
        (b, z),
        lambda v, t: b.kl(v, t) + (z.kl(v, t) + log_normal(X, 2.0 * v["z"] - v["b"] + t[-2], 1.0)).sum(),
        needs(kind, inner) | {"subsampling"},
    )


def local(kind: str, subsample_size: int = 3) -> Problem:
    """All sites in one plate, whose scale belongs to the whole bound of a datum."""

    def model() -> None:
        with aleator.plate("data", 3, subsample_size=subsample_size) as rows:
            z = draw(kind, "z")
            aleator.sample("x", dist.Normal(2.0 * z + theta()[-2], ONE), obs=X[rows])

    def guide() -> None:
        with aleator.plate("data", 3, subsample_size=subsample_size) as rows:
            draw(kind, "z", theta()[:3][rows])

    z = Latent("z", kind, (3,), lambda v, t: t[:3])
    return Problem(
        f"local-{kind}" + ("-subsampled" if subsample_size < 3 else ""),
        model,
        guide,
        (z,),
        lambda v, t: z.kl(v, t) + log_normal(X, 2.0 * v["z"] + t[-2], 1.0),
        needs(kind) | (frozenset({"subsampling"}) if subsample_size < 3 else frozenset()),
        per_datum=True,
    )


def sequential(kind: str) -> Problem:
    """A plate as a loop, and a site outside that depends on every turn."""

    def model() -> None:
        total = torch.zeros((), dtype=torch.float64)
        for i in aleator.plate("turns", 2):
            z = draw(kind, f"z_{i}")
            aleator.sample(f"x_{i}", dist.Normal(2.0 * z + theta()[-2], ONE), obs=X[i])
            total = total + z
        aleator.sample("total", dist.Normal(total, ONE), obs=X[2])

    def guide() -> None:
        for i in aleator.plate("turns", 2):
            draw(kind, f"z_{i}", theta()[i])

    z = Latent("z", kind, (2,), lambda v, t: t[:2])
    return Problem(
        f"sequential-{kind}",
        model,
        guide,
        (z,),
        lambda v, t: (
            (z.kl(v, t) + log_normal(X[:2], 2.0 * v["z"] + t[-2], 1.0)).sum() + log_normal(X[2], v["z"].sum(), 1.0)
        ),
        needs(kind),
    )


def shared_dim(kind: str) -> Problem:
    """Two plates use dim -1 in turn, and the second depends on all of the first."""

    def model() -> None:
        with aleator.plate("first", 2):
            z = draw(kind, "z")
        with aleator.plate("second", 2):
            aleator.sample("x", dist.Normal(z.sum(-1, keepdim=True) + theta()[-2], ONE), obs=X[:2])

    def guide() -> None:
        with aleator.plate("first", 2):
            draw(kind, "z", theta()[:2])

    z = Latent("z", kind, (2,), lambda v, t: t[:2])
    return Problem(
        f"shared-dim-{kind}",
        model,
        guide,
        (z,),
        lambda v, t: z.kl(v, t).sum() + log_normal(X[:2], v["z"].sum() + t[-2], 1.0).sum(),
        needs(kind),
    )
