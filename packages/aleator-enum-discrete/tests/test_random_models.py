"""Random programs through the public interface against all assignments written out (SEMANTICS 23-31, 39-43)."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import aleator
from aleator import rng
from aleator.infer import TraceEnum_ELBO, config_enumerate, infer_discrete
from brute_force import joint_table
from frequencies import chi_square, joint_counts
from random_programs import DIMS, Program, plates_of, programs, requiring_gradient

CLOSE = {"rtol": 1e-11, "atol": 1e-11}
COPIES = 4000


def nothing():
    """A guide for programs whose latent sites are all summed out."""


def estimator():
    return TraceEnum_ELBO(max_plate_nesting=2)


def log_evidence(program):
    joint, _ = joint_table(*program.tables())
    return joint.flatten().logsumexp(0)


def scaled(program):
    """What the objective is: the scale stands outside of the sum over the program."""
    return log_evidence(program) * (1.0 if program.scale is None else program.scale)


def of_copy(values, where, event_dim=0):
    """The element of a plated site's tensor that belongs to one copy of it."""
    for plate, index in where:
        dim = DIMS[plate] - event_dim
        if values.dim() >= -dim:
            values = values.narrow(dim, index if values.shape[dim] > 1 else 0, 1)
    return values


def single(joint, place):
    """The distribution of one dim of a joint one."""
    return joint.movedim(place, 0).flatten(1).sum(1) if joint.dim() > 1 else joint


def index_of(site, value):
    return value.argmax(-1) if site.family == "one-hot" else value.long()


def gradients(value, program):
    return torch.autograd.grad(value, program.parameters(), retain_graph=True, materialize_grads=True)


def assert_close(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


@settings(max_examples=100, deadline=None)
@given(programs(), st.booleans())
def test_value_and_gradient(program, expand):
    program = requiring_gradient(program)
    loss = estimator().differentiable_loss(config_enumerate(program.model(), expand=expand), nothing)
    expected = -scaled(program)
    torch.testing.assert_close(loss, expected, **CLOSE)
    assert_close(gradients(loss, program), gradients(expected, program))


@settings(max_examples=60, deadline=None)
@given(programs(zeros=True))
def test_exact_zeros_give_no_nan(program):
    program = requiring_gradient(program)
    expected = -scaled(program)
    loss = estimator().differentiable_loss(config_enumerate(program.model()), nothing)
    torch.testing.assert_close(loss, expected, **CLOSE)
    if expected < math.inf:
        theirs = [each.nan_to_num() for each in gradients(expected, program)]
        assert_close(gradients(loss, program), theirs)


@st.composite
def beside_each_other(draw):
    sizes = {name: draw(st.integers(1, 2)) for name in ("outer", "inner", "side")}
    return [draw(programs(max_states=200, prefix=prefix, sizes=sizes)) for prefix in ("a.", "b.")]


@settings(max_examples=40, deadline=None)
@given(beside_each_other())
def test_what_nothing_ties_together_may_be_scaled_apart(two):
    """SEMANTICS 25 and 26."""

    def model():
        plates = plates_of(two[0].sizes)
        for program in two:
            program.model()(plates)

    loss = estimator().loss(config_enumerate(model), nothing)
    torch.testing.assert_close(torch.tensor(loss, dtype=torch.float64), -sum(map(scaled, two)), **CLOSE)


@settings(max_examples=80, deadline=None)
@given(programs(zeros=True))
def test_marginals(program):
    joint, order = joint_table(*program.tables())
    assume(joint.amax() > -math.inf)
    found = estimator().compute_marginals(config_enumerate(program.model()), nothing)
    sites = {site.name: site for site in program.latent()}
    assert set(found) == set(sites)
    for place, (name, where) in enumerate(order):
        expected = single(joint.flatten().softmax(0).reshape(joint.shape), place)
        probs = found[name].probs
        if sites[name].family == "bernoulli":
            probs = torch.stack([1 - probs, probs], -1)
        ours = of_copy(probs, where, event_dim=1)
        torch.testing.assert_close(ours.reshape(-1), expected, **CLOSE)


@settings(max_examples=80, deadline=None)
@given(programs(zeros=True))
def test_the_joint_maximum(program):
    joint, order = joint_table(*program.tables(masked_laws=True))
    assume(joint.amax() > -math.inf)
    values = infer_discrete(config_enumerate(program.model()), first_available_dim=-3, temperature=0)()
    sites = {site.name: site for site in program.latent()}
    found = [of_copy(index_of(sites[name], values[name]), where).reshape(()) for name, where in order]
    torch.testing.assert_close(joint[tuple(found)], joint.amax(), **CLOSE)


def drawn_copies(program, order, by):
    """Joint draws of every copy of every site: a plate of independent copies of the whole program, drawn at once."""
    model = program.model()

    @config_enumerate
    def repeated():
        with aleator.plate("copies", COPIES, dim=DIMS["copies"]):
            return model()

    if by == "infer_discrete":
        values = infer_discrete(repeated, first_available_dim=-4, temperature=1)()
    else:
        values = TraceEnum_ELBO(max_plate_nesting=3).sample_posterior(repeated, nothing)
    sites = {site.name: site for site in program.latent()}
    return [of_copy(index_of(sites[name], values[name]), where).expand(COPIES, 1, 1).flatten() for name, where in order]


def drawn_alone(probabilities):
    """The broken twin: every copy by itself, with the right single frequencies."""
    draws = (torch.multinomial(single(probabilities, place), COPIES, True) for place in range(probabilities.dim()))
    return list(draws)


def distance_from_independence(probabilities):
    alone = torch.ones((), dtype=probabilities.dtype)
    for place in range(probabilities.dim()):
        alone = alone.unsqueeze(-1) * single(probabilities, place)
    return (probabilities - alone).abs().sum()


@pytest.mark.parametrize("by", ["infer_discrete", "sample_posterior"])
@settings(max_examples=30, deadline=None, derandomize=True)
@given(program=programs(max_states=150, zeros=True))
def test_draws_have_the_joint_frequencies(program, by):
    """SEMANTICS 43: chi-square over the joint states; where sites are tied, draws of each by itself must not pass.

    Under a mask, ``infer_discrete`` leaves the law of a latent site out (SEMANTICS 41); the estimator's posterior is
    that of its objective, which keeps it.
    """
    joint, order = joint_table(*program.tables(masked_laws=by == "infer_discrete"))
    assume(joint.amax() > -math.inf)
    probabilities = joint.flatten().softmax(0).reshape(joint.shape)
    with rng(3):
        draws = drawn_copies(program, order, by)
    counts = joint_counts(draws, order, joint.shape)
    assert counts[probabilities.flatten() == 0].sum() == 0
    statistic, bound = chi_square(counts, probabilities.flatten())
    assert statistic < bound
    if distance_from_independence(probabilities) > 0.3:
        torch.manual_seed(3)
        counts = joint_counts(drawn_alone(probabilities), order, joint.shape)
        statistic, bound = chi_square(counts, probabilities.flatten())
        assert statistic > bound


@st.composite
def pairs(draw):
    """A program, and a guide over its sites in few plates: its own tables over those parents that it has."""
    program = draw(programs(max_states=400, masks=False))
    depth = draw(st.integers(0, 1))
    source = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    chosen, guide, marks = {}, [], {}
    for site in program.latent():
        if len(site.plates) > depth or draw(st.integers(0, 3)) == 0:
            continue
        if site.plates and any(set(other.plates) < set(site.plates) for other in program.latent()):
            if not all(other.name in chosen for other in program.latent() if set(other.plates) < set(site.plates)):
                continue
        parents = tuple(chosen[parent.name] for parent in site.parents if parent.name in chosen)
        counts = [program.sizes[plate] for plate in site.plates] if site.varies else []
        shape = [*counts, *(parent.size for parent in parents), site.size]
        logits = torch.randn(shape, dtype=torch.float64, generator=source)
        chosen[site.name] = replace(site, parents=parents, logits=logits)
        guide.append(chosen[site.name])
        sequential = not site.plates and list(marks.values()).count("sequential") < 3 and draw(st.booleans())
        marks[site.name] = "sequential" if sequential else "parallel"
    assume(guide)
    return program, Program(program.sizes, tuple(guide), scale=program.scale), marks


@settings(max_examples=80, deadline=None)
@given(pairs())
def test_value_and_gradient_with_a_guide(pair):
    """The bound is the guide's mean of log p - log q, the sum over the program's other sites inside the logarithm."""
    program, guide, marks = pair
    program, guide = requiring_gradient(program), requiring_gradient(guide)
    model, proposal = program.model(), guide.model()

    def marked():
        with aleator.handlers.infer_config(config_fn=lambda site: {"enumerate": marks.get(site.name)}):
            proposal()

    loss = estimator().differentiable_loss(config_enumerate(model), marked)
    joint, order = joint_table(*program.tables())
    law, law_order = joint_table(*guide.tables())
    inside = [place for place, copy in enumerate(order) if copy in law_order]
    joint = joint.movedim(inside, list(range(len(inside))))
    log_p = joint.reshape(*joint.shape[: len(inside)], -1).logsumexp(-1)
    log_q = law.permute([law_order.index(order[place]) for place in inside])
    expected = -(log_q.exp() * (log_p - log_q)).sum() * (1.0 if program.scale is None else program.scale)
    torch.testing.assert_close(loss, expected, **CLOSE)
    for each in (program, guide):
        assert_close(gradients(loss, each), gradients(expected, each))
