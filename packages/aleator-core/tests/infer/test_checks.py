"""Whether a model and a guide fit each other: each message names the sites and says what to do."""

from __future__ import annotations

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.errors import ModelGuideMismatchError, SupportError, UnsupportedModelError
from aleator.infer.checks import check_match, check_shapes
from aleator.plates import reserve_dims


def traces(model, guide):
    guide_trace = handlers.trace(guide).get_trace()
    return handlers.trace(handlers.replay(model, trace=guide_trace)).get_trace(), guide_trace


def normal(name, **options):
    return aleator.sample(name, dist.Normal(0.0, 1.0), **options)


def test_latent_site_that_the_guide_lacks_is_an_error():
    """SEMANTICS 8: peers warn, and report a number without -log q: neither a bound nor the prior."""
    with pytest.raises(ModelGuideMismatchError, match=r"latent sites \['b'\] are not in the guide.*handlers.block"):
        check_match(*traces(lambda: (normal("a"), normal("b")), lambda: normal("a")))


def test_guide_site_that_the_model_lacks():
    """SEMANTICS 8."""
    with pytest.raises(ModelGuideMismatchError, match=r"guide's sites \['c'\] are not in the model.*is_auxiliary"):
        check_match(*traces(lambda: normal("a"), lambda: (normal("a"), normal("c"))))
    check_match(*traces(lambda: normal("a"), lambda: (normal("a"), normal("c", infer={"is_auxiliary": True}))))


def test_both_lacks_in_one_message():
    with pytest.raises(ModelGuideMismatchError, match=r"\['b'\].*; and .*\['c'\]"):
        check_match(*traces(lambda: normal("b"), lambda: normal("c")))


def test_hidden_and_observed_sites_need_no_partner():
    check_match(*traces(handlers.block(lambda: normal("a"), hide=["a"]), lambda: None))
    check_match(*traces(lambda: normal("x", obs=torch.tensor(0.0)), lambda: None))


@pytest.mark.parametrize(
    ("model_fn", "guide_fn"),
    [
        (dist.Normal(torch.zeros(3), 1.0).to_event(1), dist.Normal(torch.zeros(2), 1.0).to_event(1)),
        (dist.Normal(torch.zeros(3), 1.0).to_event(1), dist.Normal(torch.zeros(3), 1.0)),
    ],
    ids=["sizes", "event dims"],
)
def test_shapes_that_differ_print_both_tables(model_fn, guide_fn):
    with aleator.validation_enabled(False):
        pair = traces(lambda: aleator.sample("z", model_fn), lambda: aleator.sample("z", guide_fn))
    with pytest.raises(ModelGuideMismatchError) as caught:
        check_match(*pair)
    text = str(caught.value)
    assert "site 'z'" in text
    assert "Model shapes:" in text
    assert "Guide shapes:" in text
    assert str(tuple(model_fn.event_shape)) in text
    assert str(tuple(guide_fn.event_shape)) in text


def test_leading_dims_of_size_one_are_the_same_shape():
    check_match(
        *traces(
            lambda: aleator.sample("z", dist.Normal(torch.zeros(1), 1.0)),
            lambda: aleator.sample("z", dist.Normal(0.0, 1.0)),
        )
    )


def test_value_that_the_model_cannot_score_is_named():
    """A guide on the whole line for a positive site: its log_prob there is no density of anything."""
    with pytest.raises(SupportError, match=r"site 'z'.*support"):
        check_match(
            *traces(
                lambda: aleator.sample("z", dist.Exponential(1.0)),
                lambda: aleator.sample("z", dist.Delta(torch.tensor(-1.0))),
            )
        )


def test_factor_in_a_guide_states_has_rsample():
    """SEMANTICS 9."""
    guide = lambda: aleator.factor("f", torch.tensor(1.0))  # noqa: E731  # three one-line programs side by side
    with pytest.raises(UnsupportedModelError, match=r"guide site 'f'.*has_rsample=True.*has_rsample=False"):
        check_match(*traces(lambda: None, guide))
    for stated in (True, False):
        check_match(*traces(lambda: None, lambda s=stated: aleator.factor("f", torch.tensor(1.0), has_rsample=s)))


def test_batch_dim_that_no_plate_declares():
    trace = handlers.trace(lambda: aleator.sample("z", dist.Normal(torch.zeros(4, 3), 1.0))).get_trace()
    with pytest.raises(
        ValueError, match=r"model site 'z'.*no plate declares dim -2 of size 4.*\.to_event\(2\)"
    ) as caught:
        check_shapes(trace, "model")
    assert "Trace Shapes:" in str(caught.value)


def test_declared_and_reserved_dims_pass():
    with handlers.trace() as trace:
        assert list(reserve_dims(1, left_of=-1)) == [-2]
        with aleator.plate("p", 3):
            aleator.sample("z", dist.Normal(torch.zeros(4, 3), 1.0))
        aleator.sample("one", dist.Normal(torch.zeros(1, 1), 1.0))
        check_shapes(trace, "model")


def test_wrong_plate_dim_is_found():
    with handlers.trace() as trace, aleator.plate("p", 3, dim=-2):
        aleator.sample("z", dist.Normal(torch.zeros(3, 2), 1.0))
    with pytest.raises(ValueError, match="dim -1 of size 2"):
        check_shapes(trace, "guide")
