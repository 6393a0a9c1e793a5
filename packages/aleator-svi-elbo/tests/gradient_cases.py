"""Programs that cover what Trace_ELBO must get right, each beside its formulas."""

from __future__ import annotations

import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from exact_expectation import Case, D, log_bernoulli, log_normal

PRIOR = D(0.3)
PRIOR_LOGIT = torch.logit(PRIOR)
ONE = D(1.0)
X = D([0.3, -0.7, 1.1])
Y = D([[0.3, -0.7], [1.1, 0.4]])


def bernoulli(name, logits=None, **keywords):
    fn = dist.Bernoulli(PRIOR) if logits is None else dist.Bernoulli(logits=logits)
    return aleator.sample(name, fn, **keywords)


def observe(name, loc, data):
    aleator.sample(name, dist.Normal(loc, ONE), obs=data)


def score_model(theta):
    z = bernoulli("z")
    observe("x", 2.0 * z - theta[1], X[0])


def score_guide(theta):
    bernoulli("z", theta[0])


SCORE = Case(
    score_model,
    score_guide,
    (0.4, -0.2),
    {"z": ("bernoulli", (), lambda v, t: t[0])},
    lambda v, t: (
        log_bernoulli(v["z"], PRIOR_LOGIT) + log_normal(X[0], 2.0 * v["z"] - t[1], 1.0) - log_bernoulli(v["z"], t[0])
    ),
)


def pathwise_model(theta):
    z = aleator.sample("z", dist.Normal(D(0.0), ONE))
    observe("x", 2.0 * z, X[0])


def pathwise_guide(theta):
    aleator.sample("z", dist.Normal(theta[0], theta[1].exp()))


PATHWISE = Case(
    pathwise_model,
    pathwise_guide,
    (0.4, -0.2),
    {"z": ("normal", (), lambda v, t: (t[0], t[1].exp()))},
    lambda v, t: (
        log_normal(v["z"], 0.0, 1.0) + log_normal(X[0], 2.0 * v["z"], 1.0) - log_normal(v["z"], t[0], t[1].exp())
    ),
)


def mixed_model(theta):
    b = bernoulli("b")
    z = aleator.sample("z", dist.Normal(b, ONE))
    observe("x", z * (1.0 + b), X[0])


def mixed_guide(theta):
    b = bernoulli("b", theta[0])
    aleator.sample("z", dist.Normal(theta[1] + b * theta[2], theta[3].exp()))


MIXED = Case(
    mixed_model,
    mixed_guide,
    (0.4, -0.2, 0.7, 0.1),
    {
        "b": ("bernoulli", (), lambda v, t: t[0]),
        "z": ("normal", (), lambda v, t: (t[1] + v["b"] * t[2], t[3].exp())),
    },
    lambda v, t: (
        log_bernoulli(v["b"], PRIOR_LOGIT)
        + log_normal(v["z"], v["b"], 1.0)
        + log_normal(X[0], v["z"] * (1.0 + v["b"]), 1.0)
        - log_bernoulli(v["b"], t[0])
        - log_normal(v["z"], t[1] + v["b"] * t[2], t[3].exp())
    ),
)


def plate_model(theta):
    b = bernoulli("b")
    with aleator.plate("data", 2):
        z = bernoulli("z")
        observe("x", 2.0 * z - b, X[:2])


def plate_guide(theta):
    b = bernoulli("b", theta[0])
    with aleator.plate("data", 2):
        bernoulli("z", theta[1:3] + b)


PLATE_SCORE = Case(
    plate_model,
    plate_guide,
    (0.4, -0.2, 0.7),
    {"b": ("bernoulli", (), lambda v, t: t[0]), "z": ("bernoulli", (2,), lambda v, t: t[1:3] + v["b"])},
    lambda v, t: (
        log_bernoulli(v["b"], PRIOR_LOGIT)
        + (log_bernoulli(v["z"], PRIOR_LOGIT) + log_normal(X[:2], 2.0 * v["z"] - v["b"], 1.0)).sum()
        - log_bernoulli(v["b"], t[0])
        - log_bernoulli(v["z"], t[1:3] + v["b"]).sum()
    ),
)


def common_plate_model(theta):
    with aleator.plate("data", 2):
        b = bernoulli("b")
        z = aleator.sample("z", dist.Normal(b, ONE))
        observe("x", z, X[:2])


def common_plate_guide(theta):
    with aleator.plate("data", 2):
        b = bernoulli("b", theta[:2])
        aleator.sample("z", dist.Normal(theta[2] * b, ONE))


# All sites in the plate: its dim is kept up to the reduction over particles.
PLATE_MIXED = Case(
    common_plate_model,
    common_plate_guide,
    (0.4, -0.2, 0.7),
    {
        "b": ("bernoulli", (2,), lambda v, t: t[:2]),
        "z": ("normal", (2,), lambda v, t: (t[2] * v["b"], ONE)),
    },
    lambda v, t: (
        log_bernoulli(v["b"], PRIOR_LOGIT)
        + log_normal(v["z"], v["b"], 1.0)
        + log_normal(X[:2], v["z"], 1.0)
        - log_bernoulli(v["b"], t[:2])
        - log_normal(v["z"], t[2] * v["b"], 1.0)
    ).sum(),
)


def nested_model(theta):
    b = bernoulli("b")
    with aleator.plate("columns", 2, dim=-1):
        z = bernoulli("z")
        with aleator.plate("rows", 2, dim=-2):
            w = bernoulli("w")
            observe("x", w + z - b, Y)


def nested_guide(theta):
    b = bernoulli("b", theta[0])
    with aleator.plate("columns", 2, dim=-1):
        z = bernoulli("z", theta[1:3] + b)
        with aleator.plate("rows", 2, dim=-2):
            bernoulli("w", theta[3] - z)


NESTED_SCORE = Case(
    nested_model,
    nested_guide,
    (0.4, -0.2, 0.7, 0.3),
    {
        "b": ("bernoulli", (), lambda v, t: t[0]),
        "z": ("bernoulli", (2,), lambda v, t: t[1:3] + v["b"]),
        "w": ("bernoulli", (2, 2), lambda v, t: (t[3] - v["z"]).expand(2, 2)),
    },
    lambda v, t: (
        log_bernoulli(v["b"], PRIOR_LOGIT)
        + log_bernoulli(v["z"], PRIOR_LOGIT).sum()
        + (log_bernoulli(v["w"], PRIOR_LOGIT) + log_normal(Y, v["w"] + v["z"] - v["b"], 1.0)).sum()
        - log_bernoulli(v["b"], t[0])
        - log_bernoulli(v["z"], t[1:3] + v["b"]).sum()
        - log_bernoulli(v["w"], (t[3] - v["z"]).expand(2, 2)).sum()
    ),
)


def nested_mixed_model(theta):
    with aleator.plate("columns", 2, dim=-1):
        z = bernoulli("z")
        with aleator.plate("rows", 2, dim=-2):
            w = aleator.sample("w", dist.Normal(z, ONE))
            observe("x", w, Y)


def nested_mixed_guide(theta):
    with aleator.plate("columns", 2, dim=-1):
        z = bernoulli("z", theta[:2])
        with aleator.plate("rows", 2, dim=-2):
            aleator.sample("w", dist.Normal(theta[2] * z, ONE))


NESTED_MIXED = Case(
    nested_mixed_model,
    nested_mixed_guide,
    (0.4, -0.2, 0.7),
    {
        "z": ("bernoulli", (2,), lambda v, t: t[:2]),
        "w": ("normal", (2, 2), lambda v, t: ((t[2] * v["z"]).expand(2, 2), ONE)),
    },
    lambda v, t: (
        log_bernoulli(v["z"], PRIOR_LOGIT).sum()
        + (log_normal(v["w"], v["z"], 1.0) + log_normal(Y, v["w"], 1.0) - log_normal(v["w"], t[2] * v["z"], 1.0)).sum()
        - log_bernoulli(v["z"], t[:2]).sum()
    ),
)


def subsample_model(theta):
    b = bernoulli("b")
    with aleator.plate("data", 3, subsample_size=2) as rows:
        z = bernoulli("z")
        observe("x", 2.0 * z - b, X[rows])


def subsample_guide(theta):
    b = bernoulli("b", theta[0])
    with aleator.plate("data", 3, subsample_size=2) as rows:
        bernoulli("z", theta[1:4][rows] + b)


SUBSETS = tuple(("data", rows) for rows in ((0, 1), (2, 0), (1, 2)))
SUBSAMPLE_SCORE = Case(
    subsample_model,
    subsample_guide,
    (0.4, -0.2, 0.7, 0.1),
    {"b": ("bernoulli", (), lambda v, t: t[0]), "z": ("bernoulli", (3,), lambda v, t: t[1:4] + v["b"])},
    lambda v, t: (
        log_bernoulli(v["b"], PRIOR_LOGIT)
        + (log_bernoulli(v["z"], PRIOR_LOGIT) + log_normal(X, 2.0 * v["z"] - v["b"], 1.0)).sum()
        - log_bernoulli(v["b"], t[0])
        - log_bernoulli(v["z"], t[1:4] + v["b"]).sum()
    ),
    {"z": (2,)},
    SUBSETS,
)


def common_subsample_model(theta):
    with aleator.plate("data", 3, subsample_size=2) as rows:
        b = bernoulli("b")
        z = aleator.sample("z", dist.Normal(b, ONE))
        observe("x", z, X[rows])


def common_subsample_guide(theta):
    with aleator.plate("data", 3, subsample_size=2) as rows:
        b = bernoulli("b", theta[:3][rows])
        aleator.sample("z", dist.Normal(theta[3] * b, ONE))


SUBSAMPLE_MIXED = Case(
    common_subsample_model,
    common_subsample_guide,
    (0.4, -0.2, 0.7, 0.5),
    {"b": ("bernoulli", (3,), lambda v, t: t[:3]), "z": ("normal", (3,), lambda v, t: (t[3] * v["b"], ONE))},
    lambda v, t: (
        log_bernoulli(v["b"], PRIOR_LOGIT)
        + log_normal(v["z"], v["b"], 1.0)
        + log_normal(X, v["z"], 1.0)
        - log_bernoulli(v["b"], t[:3])
        - log_normal(v["z"], t[3] * v["b"], 1.0)
    ).sum(),
    {"b": (2,), "z": (2,)},
    SUBSETS,
)

KEPT = torch.tensor([True, False])


def mask_model(theta):
    """The second z is masked, and y, which is not, depends on it."""
    with aleator.plate("data", 2):
        with handlers.mask(mask=KEPT):
            z = bernoulli("z")
            observe("x", 2.0 * z, X[:2])
        observe("y", z, X[1:])


def mask_guide(theta):
    with aleator.plate("data", 2), handlers.mask(mask=KEPT):
        bernoulli("z", theta[:2])


MASK = Case(
    mask_model,
    mask_guide,
    (0.4, -0.2),
    {"z": ("bernoulli", (2,), lambda v, t: t[:2])},
    lambda v, t: (
        KEPT
        * (log_bernoulli(v["z"], PRIOR_LOGIT) + log_normal(X[:2], 2.0 * v["z"], 1.0) - log_bernoulli(v["z"], t[:2]))
        + log_normal(X[1:], v["z"], 1.0)
    ).sum(),
)


def masked_out_model(theta):
    with handlers.mask(mask=False):
        b = bernoulli("b")
        z = aleator.sample("z", dist.Normal(b, ONE))
    observe("x", z + b, X[0])


def masked_out_guide(theta):
    with handlers.mask(mask=False):
        b = bernoulli("b", theta[0])
        aleator.sample("z", dist.Normal(theta[1] * b, ONE))


# mask=False takes a whole site out of the objective; what depends on its draw still moves its parameters.
MASKED_OUT = Case(
    masked_out_model,
    masked_out_guide,
    (0.4, -0.2),
    {"b": ("bernoulli", (), lambda v, t: t[0]), "z": ("normal", (), lambda v, t: (t[1] * v["b"], ONE))},
    lambda v, t: log_normal(X[0], v["z"] + v["b"], 1.0),
)


def distribution_mask_model(theta):
    with aleator.plate("data", 2):
        z = aleator.sample("z", dist.Bernoulli(PRIOR).expand((2, 1)).mask(KEPT[:, None]).to_event(1))
        observe("x", z[..., 0], X[:2])


def distribution_mask_guide(theta):
    with aleator.plate("data", 2):
        aleator.sample("z", dist.Bernoulli(logits=theta[:2, None]).mask(KEPT[:, None]).to_event(1))


DISTRIBUTION_MASK = Case(
    distribution_mask_model,
    distribution_mask_guide,
    (0.4, -0.2),
    {"z": ("bernoulli", (2, 1), lambda v, t: t[:2, None])},
    lambda v, t: (
        KEPT * (log_bernoulli(v["z"], PRIOR_LOGIT) - log_bernoulli(v["z"], t[:2, None])).sum(-1)
        + log_normal(X[:2], v["z"][..., 0], 1.0)
    ).sum(),
)

WEIGHTS = D([0.5, 3.0])


def scale_model(theta):
    with handlers.scale(scale=2.5):
        b = bernoulli("b")
    with aleator.plate("data", 2):
        with handlers.scale(scale=WEIGHTS):
            z = aleator.sample("z", dist.Normal(b, ONE))
        observe("x", z, X[:2])


def scale_guide(theta):
    with handlers.scale(scale=2.5):
        b = bernoulli("b", theta[0])
    with aleator.plate("data", 2), handlers.scale(scale=WEIGHTS):
        aleator.sample("z", dist.Normal(theta[1:3] * b, ONE))


SCALE = Case(
    scale_model,
    scale_guide,
    (0.4, -0.2, 0.7),
    {"b": ("bernoulli", (), lambda v, t: t[0]), "z": ("normal", (2,), lambda v, t: (t[1:3] * v["b"], ONE))},
    lambda v, t: (
        2.5 * (log_bernoulli(v["b"], PRIOR_LOGIT) - log_bernoulli(v["b"], t[0]))
        + (WEIGHTS * (log_normal(v["z"], v["b"], 1.0) - log_normal(v["z"], t[1:3] * v["b"], 1.0))).sum()
        + log_normal(X[:2], v["z"], 1.0).sum()
    ),
)


def sequential_model(theta):
    b = bernoulli("b")
    total = b
    for i in aleator.plate("turns", 2):
        z = bernoulli(f"z_{i}")
        observe(f"x_{i}", 2.0 * z - b, X[i])
        with aleator.plate(f"inner_{i}", 2):
            w = bernoulli(f"w_{i}")
            observe(f"y_{i}", w + z, X[1:])
        total = total + z
    observe("total", total, X[2])


def sequential_guide(theta):
    b = bernoulli("b", theta[0])
    for i in aleator.plate("turns", 2):
        z = bernoulli(f"z_{i}", theta[1 + i] + b)
        with aleator.plate(f"inner_{i}", 2):
            bernoulli(f"w_{i}", theta[3] * z)


# "total" stands outside the loop and depends on every turn: each turn's draw answers for it.
SEQUENTIAL = Case(
    sequential_model,
    sequential_guide,
    (0.4, -0.2, 0.7, 0.3),
    {
        "b": ("bernoulli", (), lambda v, t: t[0]),
        **{
            key: entry
            for i in range(2)
            for key, entry in {
                f"z_{i}": ("bernoulli", (), lambda v, t, i=i: t[1 + i] + v["b"]),
                f"w_{i}": ("bernoulli", (2,), lambda v, t, i=i: (t[3] * v[f"z_{i}"]).expand(2)),
            }.items()
        },
    },
    lambda v, t: (
        log_bernoulli(v["b"], PRIOR_LOGIT)
        - log_bernoulli(v["b"], t[0])
        + log_normal(X[2], v["b"] + v["z_0"] + v["z_1"], 1.0)
        + sum(
            log_bernoulli(v[f"z_{i}"], PRIOR_LOGIT)
            - log_bernoulli(v[f"z_{i}"], t[1 + i] + v["b"])
            + log_normal(X[i], 2.0 * v[f"z_{i}"] - v["b"], 1.0)
            + (
                log_bernoulli(v[f"w_{i}"], PRIOR_LOGIT)
                - log_bernoulli(v[f"w_{i}"], (t[3] * v[f"z_{i}"]).expand(2))
                + log_normal(X[1:], v[f"w_{i}"] + v[f"z_{i}"], 1.0)
            ).sum()
            for i in range(2)
        )
    ),
)


def shared_dim_model(theta):
    with aleator.plate("first", 2):
        z = bernoulli("z")
    with aleator.plate("second", 2):
        observe("x", z.sum(-1, keepdim=True), X[:2])


def shared_dim_guide(theta):
    with aleator.plate("first", 2):
        bernoulli("z", theta[:2])


# Two plates use dim -1 in turn: the elements of one have nothing to do with those of the other.
SHARED_DIM = Case(
    shared_dim_model,
    shared_dim_guide,
    (0.4, -0.2),
    {"z": ("bernoulli", (2,), lambda v, t: t[:2])},
    lambda v, t: (
        (log_bernoulli(v["z"], PRIOR_LOGIT) - log_bernoulli(v["z"], t[:2])).sum()
        + log_normal(X[:2], v["z"].sum(), 1.0).sum()
    ),
)


def unequal_dim_model(theta):
    with aleator.plate("first", 2):
        z = bernoulli("z")
    with aleator.plate("second", 3):
        observe("x", z.sum(-1, keepdim=True), X)


UNEQUAL_DIM = Case(
    unequal_dim_model,
    shared_dim_guide,
    (0.4, -0.2),
    {"z": ("bernoulli", (2,), lambda v, t: t[:2])},
    lambda v, t: (
        (log_bernoulli(v["z"], PRIOR_LOGIT) - log_bernoulli(v["z"], t[:2])).sum()
        + log_normal(X, v["z"].sum(), 1.0).sum()
    ),
)


def auxiliary_guide(theta):
    a = bernoulli("a", theta[2], infer={"is_auxiliary": True})
    bernoulli("z", theta[0] + a)


AUXILIARY = Case(
    score_model,
    auxiliary_guide,
    (0.4, -0.2, 0.7),
    {"a": ("bernoulli", (), lambda v, t: t[2]), "z": ("bernoulli", (), lambda v, t: t[0] + v["a"])},
    lambda v, t: (
        log_bernoulli(v["z"], PRIOR_LOGIT)
        + log_normal(X[0], 2.0 * v["z"] - t[1], 1.0)
        - log_bernoulli(v["z"], t[0] + v["a"])
        - log_bernoulli(v["a"], t[2])
    ),
)


def forced_score_guide(theta):
    b = bernoulli("b", theta[0])
    aleator.sample("z", dist.Normal(theta[1] + b * theta[2], theta[3].exp()), infer={"gradient": "score"})


# A normal site differentiated by its score: the same objective as MIXED, so the same gradient.
FORCED_SCORE = Case(mixed_model, forced_score_guide, MIXED.theta, MIXED.latents, MIXED.integrand)


def guide_factor_guide(theta):
    """The penalty 0.5 * a * theta hangs on a score-function draw through its value, and on theta directly."""
    z = bernoulli("z", theta[0])
    aleator.factor("penalty", 0.5 * z * theta[1], has_rsample=True)


GUIDE_FACTOR = Case(
    score_model,
    guide_factor_guide,
    (0.4, -0.2),
    {"z": ("bernoulli", (), lambda v, t: t[0])},
    lambda v, t: SCORE.integrand(v, t) - 0.5 * v["z"] * t[1],
)


def sampled_turns_model(theta):
    b = bernoulli("b")
    for turn, row in enumerate(aleator.plate("data", 3, subsample_size=2)):
        z = bernoulli(f"z_{turn}")
        observe(f"x_{turn}", 2.0 * z - b, X[row])


def sampled_turns_guide(theta):
    b = bernoulli("b", theta[0])
    for turn, row in enumerate(aleator.plate("data", 3, subsample_size=2)):
        bernoulli(f"z_{turn}", theta[1 + row] + b)


# A subsampled loop: two of three turns, each with the weight 3/2.
SUBSAMPLED_TURNS = Case(
    sampled_turns_model,
    sampled_turns_guide,
    SUBSAMPLE_SCORE.theta,
    {"b": SUBSAMPLE_SCORE.latents["b"], "z": SUBSAMPLE_SCORE.latents["z"]},
    SUBSAMPLE_SCORE.integrand,
    {"z": (2,)},
    SUBSETS,
    by_turn=("z",),
)

CASES = {
    "score": SCORE,
    "pathwise": PATHWISE,
    "mixed": MIXED,
    "plate-score": PLATE_SCORE,
    "plate-mixed": PLATE_MIXED,
    "nested-score": NESTED_SCORE,
    "nested-mixed": NESTED_MIXED,
    "subsample-score": SUBSAMPLE_SCORE,
    "subsample-mixed": SUBSAMPLE_MIXED,
    "mask": MASK,
    "masked-out": MASKED_OUT,
    "distribution-mask": DISTRIBUTION_MASK,
    "scale": SCALE,
    "sequential": SEQUENTIAL,
    "shared-dim": SHARED_DIM,
    "unequal-dim": UNEQUAL_DIM,
    "auxiliary": AUXILIARY,
    "forced-score": FORCED_SCORE,
    "guide-factor": GUIDE_FACTOR,
    "subsampled-turns": SUBSAMPLED_TURNS,
}
