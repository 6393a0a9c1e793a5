"""Random small graphs: plates that nest, variables in them, tables over a few variables each."""

import math

import torch
from hypothesis import assume
from hypothesis import strategies as st

from aleator_enum_discrete.engine.tables import Domain, Table, Variable
from brute_force import copies

ORDINALS = [(), (), ("a",), ("a", "b"), ("c",)]


@st.composite
def graphs(draw, max_states=6000, zeros=True, max_variables=6):
    """Draw tables and their domain; plate ``b`` is inside ``a``, ``c`` beside them."""
    plates = {name: draw(st.integers(1, 3)) for name in "abc"}
    variables = []
    for i in range(draw(st.integers(1, max_variables))):
        ordinal = frozenset(draw(st.sampled_from(ORDINALS)))
        variables.append(Variable(f"v{i}", draw(st.integers(1, 4)), ordinal))
    domain = Domain(tuple(variables), tuple(plates.items()))
    assume(math.prod(copies(domain).values()) <= max_states)
    sizes = domain.sizes()
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    tables = []
    for _ in range(draw(st.integers(1, 7))):
        held = draw(st.lists(st.sampled_from(variables), max_size=3, unique=True))
        inside = frozenset().union(*(variable.plates for variable in held))
        extra = frozenset(draw(st.sampled_from(ORDINALS)))
        if "c" not in inside | extra or not (inside | extra) & {"a", "b"}:
            inside = inside | extra
        # A plate of the ordinal may be no dim: then its values repeat.
        repeated = {plate for plate in inside if draw(st.integers(0, 4)) == 0}
        names = [variable.name for variable in held] + sorted(inside - repeated)
        names = draw(st.permutations(names))
        values = torch.randn([sizes[name] for name in names], dtype=torch.float64, generator=generator)
        if zeros and draw(st.booleans()):
            hidden = torch.rand(values.shape, generator=generator) < 0.3
            values = values.masked_fill(hidden, -math.inf)
        tables.append(Table(values, tuple(names), inside))
    return tables, domain


def requiring_gradient(tables):
    return [Table(each.values.clone().requires_grad_(), each.names, each.plates) for each in tables]
