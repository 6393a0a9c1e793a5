import pytest
import torch

from aleator.sites import PlateFrame
from aleator_posterior import Draws, SiteDescription

DATA = PlateFrame("data", -1, 2, 10)


def some_draws():
    return Draws(
        {"z": torch.arange(8.0).reshape(4, 2), "_RETURN": torch.arange(4)},
        torch.tensor([0.0, -1.0, -2.0, -3.0]),
        chain_ids=torch.tensor([0, 0, 1, 1]),
        log_likelihoods={"x": -torch.arange(8.0).reshape(4, 2)},
        subsamples={"data": torch.tensor([[0, 1], [2, 3], [4, 5], [6, 7]])},
        descriptions={"z": SiteDescription("latent", (DATA,), 0)},
    )


def flat(draws):
    tables = (draws.values, draws.log_likelihoods, draws.subsamples)
    columns = {name: table[name].tolist() for table in tables for name in table}
    return columns | {"weights": draws.log_weights.tolist(), "chains": draws.chain_ids.tolist()}


def by_hand(places):
    whole = flat(some_draws())
    return {name: [rows[place] for place in places] for name, rows in whole.items()}


@pytest.mark.parametrize(
    ("index", "places"),
    [
        (slice(1, 3), [1, 2]),
        (slice(None, None, 2), [0, 2]),
        ([3, 3, 0], [3, 3, 0]),
        ([-1], [3]),
        (torch.tensor([2, -4]), [2, 0]),
        (torch.tensor([True, False, False, True]), [0, 3]),
        ([False, True, False, False], [1]),
        (range(2), [0, 1]),
    ],
)
def test_selection_picks_the_same_draws_from_every_column(index, places):
    assert flat(some_draws()[index]) == by_hand(places)


def test_an_empty_selection_has_no_draws_and_joins_without_a_trace():
    none = some_draws()[[]]
    assert len(none) == 0
    assert flat(Draws.concatenate([none, some_draws()])) == by_hand(range(4))
    assert len(Draws.concatenate([])) == 0


def test_slices_are_views_and_nothing_is_copied():
    draws = some_draws()
    assert draws[1:].values["z"].data_ptr() == draws.values["z"][1].data_ptr()


def test_concatenation_inverts_slicing():
    draws = some_draws()
    assert flat(Draws.concatenate([draws[:1], draws[1:3], draws[3:]])) == by_hand(range(4))


@pytest.mark.parametrize("index", [0, "z", 1.5, None])
def test_a_wrong_index_says_what_to_write(index):
    with pytest.raises(TypeError, match=r"draws\.values\[name\].*draws\.traces\(\)\[place\]"):
        some_draws()[index]


@pytest.mark.parametrize("index", [[4], [-5], torch.tensor([0, 9])])
def test_places_out_of_range_raise(index):
    with pytest.raises(IndexError, match="places run from 0 to 3"):
        some_draws()[index]


def test_indices_of_wrong_shape_raise():
    with pytest.raises(ValueError, match=r"mask must have shape \(4,\), but has \(3,\)"):
        some_draws()[torch.tensor([True, False, True])]
    with pytest.raises(ValueError, match=r"places must be a vector, but have shape \(\)"):
        some_draws()[torch.tensor(1)]


def test_plates_dims_and_roles():
    draws = some_draws()
    assert draws.plates == {"data": DATA}
    assert draws.dims == {"z": ("data",), "_RETURN": ()}
    assert draws.names("latent") == ["z"]
    assert draws.names("return") == ["_RETURN"]
    assert draws.num_chains == 2
    assert repr(draws) == "Draws(draws=4, chains=2, z: (2,), _RETURN: ())"


def test_a_batch_is_detached_and_integer_weights_are_numbers():
    leaf = torch.ones(3, requires_grad=True)
    draws = Draws({"z": leaf * 2}, torch.tensor([0, 1, 2]), log_likelihoods={"x": leaf * 3})
    assert not draws.values["z"].requires_grad
    assert not draws.log_likelihoods["x"].requires_grad
    assert draws.log_weights.tolist() == [0.0, 1.0, 2.0]
    assert draws.log_weights.is_floating_point()
    assert Draws({"z": leaf}).log_weights.tolist() == [0.0] * 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"values": {"z": torch.zeros(3), "y": torch.zeros(2, 3)}}, r"values\['y'\] has shape \(2, 3\)"),
        ({"values": {"z": torch.zeros(())}, "log_weights": torch.zeros(2)}, r"values\['z'\] has shape \(\)"),
        ({"values": {"z": torch.zeros(3)}, "log_weights": torch.zeros(3, 1)}, r"log_weights must have shape \(3,\)"),
        ({"values": {"z": torch.zeros(3)}, "chain_ids": torch.zeros(2)}, r"chain_ids must have shape \(3,\)"),
        ({"values": {"z": torch.zeros(3)}, "log_likelihoods": {"x": torch.zeros(2)}}, r"log_likelihoods\['x'\]"),
        ({"values": {"z": torch.zeros(3)}, "subsamples": {"p": torch.zeros(2, 3)}}, r"subsamples\['p'\]"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_by_name(arguments, words):
    with pytest.raises(ValueError, match=words):
        Draws(**arguments)


def test_reading_gives_tables_that_cannot_be_written_into():
    draws = some_draws()
    with pytest.raises(TypeError, match="does not support item assignment"):
        draws.values["z"] = torch.zeros(4)
    draws.plates.clear()
    draws.dims.clear()
    del draws.traces()[0].nodes["z"]
    assert draws.plates
    assert draws.dims
    assert "z" in draws.traces()[0].nodes


def test_in_chain_leaves_the_original_alone():
    draws = some_draws()
    assert draws.in_chain(5).chain_ids.tolist() == [5] * 4
    assert draws.chain_ids.tolist() == [0, 0, 1, 1]
