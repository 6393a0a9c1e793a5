import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.sites import PlateFrame
from aleator_posterior import SiteDescription


def model():
    with aleator.plate("rows", 3, dim=-2), aleator.plate("data", 4, subsample_size=2, dim=-1):
        z = aleator.sample("z", dist.Normal(torch.zeros(5), 1.0).to_event(1))
        aleator.deterministic("twice", 2 * z, event_dim=1)
        aleator.sample("x", dist.Normal(z.sum(-1), 1.0), obs=torch.zeros(3, 2))


def test_roles_and_shapes_of_a_trace_s_sites():
    nodes = handlers.trace(model).get_trace().nodes
    about = {name: SiteDescription.of(nodes[name]) for name in ("data", "z", "twice", "x", "_RETURN")}
    assert {name: each.role for name, each in about.items()} == {
        "data": "subsample",
        "z": "latent",
        "twice": "deterministic",
        "x": "observed",
        "_RETURN": "return",
    }
    assert [each.is_data for each in about.values()] == [True, False, False, True, False]
    assert about["z"].split(nodes["z"].value.shape) == ((3, 2), (5,))
    assert about["x"].split(nodes["x"].value.shape) == ((3, 2), ())
    assert about["_RETURN"].split(torch.Size((7,))) == ((), (7,))


def test_dims_are_named_after_plates_wherever_the_event_ends():
    rows, data = PlateFrame("rows", -3, 2, 2), PlateFrame("data", -1, 4, 4)
    about = SiteDescription("latent", (rows, data), event_dim=1)
    # batch dims (-3, -2, -1) and one event dim; dim -2 belongs to no plate
    assert about.dims("z", 4) == ("rows", "z_dim_1", "data", "z_dim_3")
    loop = PlateFrame("loop", None, 3, 3, counter=2)
    assert SiteDescription("latent", (loop,), event_dim=0).dims("z", 1) == ("z_dim_0",)
    assert SiteDescription().dims("z", 2) == ("z_dim_0", "z_dim_1")
    # A value that lacks the outer plate's dim, because it broadcasts
    assert about.dims("z", 2) == ("data", "z_dim_1")
