import pytest
import torch

from aleator_posterior import Draws, EmpiricalMarginal, Marginals

DRAWS = Draws(
    {"a": torch.arange(4.0), "b": torch.arange(8.0).reshape(4, 2), "_RETURN": torch.ones(4)},
    torch.tensor([1.0, 1.0, 1.0, 5.0]).log(),
    chain_ids=torch.tensor([0, 1, 0, 1]),
)


def test_each_site_has_its_own_marginal_whatever_its_shape():
    marginals = Marginals(DRAWS.in_chain(0), ["a", "b"])
    assert list(marginals.empirical) == ["a", "b"]
    assert all(isinstance(marginal, EmpiricalMarginal) for marginal in marginals.empirical.values())
    # (0 + 1 + 2 + 5 * 3) / 8; the rows of b are (2a, 2a + 1)
    assert marginals.empirical["a"].mean.item() == pytest.approx(2.25)
    assert marginals.empirical["b"].mean.tolist() == pytest.approx([4.5, 5.5])


def test_without_sites_it_is_the_result():
    assert list(Marginals(DRAWS).empirical) == ["_RETURN"]
    assert list(Marginals(DRAWS, "a").empirical) == ["a"]


def test_support_lists_the_values_by_chain_or_one_after_the_other():
    marginals = Marginals(DRAWS, ["a", "b"])
    assert marginals.support()["a"].tolist() == [[0.0, 2.0], [1.0, 3.0]]
    assert marginals.support(flatten=True)["a"].tolist() == [0.0, 2.0, 1.0, 3.0]
    assert marginals.support(flatten=True)["b"].shape == (4, 2)
    assert Marginals(DRAWS.in_chain(0), "b").support(flatten=True)["b"].shape == (4, 2)


def test_it_may_be_subclassed():
    class Ranges(Marginals):
        def ranges(self):
            return {name: (float(values.min()), float(values.max())) for name, values in self.support().items()}

    assert Ranges(DRAWS, "a").ranges() == {"a": (0.0, 3.0)}
