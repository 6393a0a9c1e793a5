"""Programs whose dependence is worth knowing, each beside its formulas."""

from __future__ import annotations

import aleator
import aleator.distributions as dist
from exact_expectation import Case, log_bernoulli, log_normal
from gradient_cases import CASES, ONE, PRIOR_LOGIT, X, bernoulli, observe


def vee_model(theta):
    a, b, c = bernoulli("a"), bernoulli("b"), bernoulli("c")
    observe("x", 2.0 * a - b, X[0])
    observe("y", c, X[1])
    observe("alone", 0.5, X[2])


def vee_guide(theta):
    bernoulli("a", theta[0])
    bernoulli("b", theta[1])
    bernoulli("c", theta[2])


# a -> x <- b, and c -> y apart from both.
VEE = Case(
    vee_model,
    vee_guide,
    (0.4, -0.2, 0.7),
    {name: ("bernoulli", (), lambda v, t, at=at: t[at]) for at, name in enumerate("abc")},
    lambda v, t: (
        sum(log_bernoulli(v[name], PRIOR_LOGIT) - log_bernoulli(v[name], t[at]) for at, name in enumerate("abc"))
        + log_normal(X[0], 2.0 * v["a"] - v["b"], 1.0)
        + log_normal(X[1], v["c"], 1.0)
        + log_normal(X[2], 0.5, 1.0)
    ),
)

LENGTH = 5


def chain_model(theta):
    z = 0.5
    for t in range(LENGTH):
        z = bernoulli(f"z_{t}", 2.0 * z - ONE)
        observe(f"x_{t}", 2.0 * z, X[t % 3])


def chain_guide(theta):
    z = 0.5
    for t in range(LENGTH):
        z = bernoulli(f"z_{t}", theta[t] + theta[-1] * z)


def chain_integrand(v, t):
    total, before = 0.0, 0.5
    for at in range(LENGTH):
        z = v[f"z_{at}"]
        total = total + log_bernoulli(z, 2.0 * before - ONE) - log_bernoulli(z, t[at] + t[-1] * before)
        total = total + log_normal(X[at % 3], 2.0 * z, 1.0)
        before = z
    return total


CHAIN = Case(
    chain_model,
    chain_guide,
    (0.4, -0.2, 0.7, 0.1, -0.3, 0.8),
    {
        f"z_{at}": (
            "bernoulli",
            (),
            lambda v, t, at=at: t[at] + t[-1] * (v[f"z_{at - 1}"] if at else 0.5),
        )
        for at in range(LENGTH)
    },
    chain_integrand,
)


def through_model(theta):
    bernoulli("b")
    c = bernoulli("c")
    z = aleator.sample("z", dist.Normal(0.0 * ONE, ONE))
    observe("x", z, X[0])
    observe("y", c, X[1])


def through_guide(theta):
    b = bernoulli("b", theta[0])
    z = aleator.sample("z", dist.Normal(theta[1] + theta[2] * b, theta[3].exp()))
    bernoulli("c", theta[4] + z.detach() * 0.0 + b)


# b reaches x through a pathwise draw only, and c reaches y alone.
THROUGH = Case(
    through_model,
    through_guide,
    (0.4, -0.2, 0.7, 0.1, 0.3),
    {
        "b": ("bernoulli", (), lambda v, t: t[0]),
        "z": ("normal", (), lambda v, t: (t[1] + t[2] * v["b"], t[3].exp())),
        "c": ("bernoulli", (), lambda v, t: t[4] + v["b"]),
    },
    lambda v, t: (
        log_bernoulli(v["b"], PRIOR_LOGIT)
        + log_bernoulli(v["c"], PRIOR_LOGIT)
        + log_normal(v["z"], 0.0, 1.0)
        + log_normal(X[0], v["z"], 1.0)
        + log_normal(X[1], v["c"], 1.0)
        - log_bernoulli(v["b"], t[0])
        - log_normal(v["z"], t[1] + t[2] * v["b"], t[3].exp())
        - log_bernoulli(v["c"], t[4] + v["b"])
    ),
)


def steered_model(theta):
    a, b, c = bernoulli("a"), bernoulli("b"), bernoulli("c")
    observe("x", 2.0 * b if a > 0 else -c, X[0])


# What x looks at depends on a, read on the host: the sites are the same in both cases.
STEERED = Case(
    steered_model,
    vee_guide,
    VEE.theta,
    VEE.latents,
    lambda v, t: (
        sum(log_bernoulli(v[name], PRIOR_LOGIT) - log_bernoulli(v[name], t[at]) for at, name in enumerate("abc"))
        + log_normal(X[0], v["a"] * 2.0 * v["b"] - (1.0 - v["a"]) * v["c"], 1.0)
    ),
)


def two_ways_model(theta):
    a, b = bernoulli("a"), bernoulli("b")
    if a > 0:
        observe("x", 2.0 * b, X[0])


def two_ways_guide(theta):
    bernoulli("a", theta[0])
    bernoulli("b", theta[1])


# The site x is there for one value of a only: two structures of one program.
TWO_WAYS = Case(
    two_ways_model,
    two_ways_guide,
    (0.4, -0.2),
    {"a": ("bernoulli", (), lambda v, t: t[0]), "b": ("bernoulli", (), lambda v, t: t[1])},
    lambda v, t: (
        sum(log_bernoulli(v[name], PRIOR_LOGIT) - log_bernoulli(v[name], t[at]) for at, name in enumerate("ab"))
        + v["a"] * log_normal(X[0], 2.0 * v["b"], 1.0)
    ),
)


def plates_model(theta):
    b = bernoulli("b")
    with aleator.plate("left", 2):
        z = bernoulli("z")
        observe("x", z + b, X[:2])
    with aleator.plate("right", 2):
        w = bernoulli("w")
        observe("y", w, X[1:])


def plates_guide(theta):
    b = bernoulli("b", theta[0])
    with aleator.plate("left", 2):
        bernoulli("z", theta[1:3] + b)
    with aleator.plate("right", 2):
        bernoulli("w", theta[3:5])


# b reaches one of two plates; each element of a plate answers for itself.
TWO_PLATES = Case(
    plates_model,
    plates_guide,
    (0.4, -0.2, 0.7, 0.1, -0.3),
    {
        "b": ("bernoulli", (), lambda v, t: t[0]),
        "z": ("bernoulli", (2,), lambda v, t: t[1:3] + v["b"]),
        "w": ("bernoulli", (2,), lambda v, t: t[3:5]),
    },
    lambda v, t: (
        log_bernoulli(v["b"], PRIOR_LOGIT)
        - log_bernoulli(v["b"], t[0])
        + (
            log_bernoulli(v["z"], PRIOR_LOGIT)
            - log_bernoulli(v["z"], t[1:3] + v["b"])
            + log_normal(X[:2], v["z"] + v["b"], 1.0)
            + log_bernoulli(v["w"], PRIOR_LOGIT)
            - log_bernoulli(v["w"], t[3:5])
            + log_normal(X[1:], v["w"], 1.0)
        ).sum()
    ),
)

GRAPH_CASES = {
    **CASES,
    "vee": VEE,
    "chain": CHAIN,
    "through": THROUGH,
    "steered": STEERED,
    "two-ways": TWO_WAYS,
    "two-plates": TWO_PLATES,
}
