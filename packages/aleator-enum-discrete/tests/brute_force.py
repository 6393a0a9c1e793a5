"""Every plate written out, every assignment in one table: the definition that contractions are held to."""

import itertools

import torch


def copies(domain):
    """Each variable once for each element of its plates: (name, ((plate, index), ...)) -> size."""
    sizes = domain.sizes()
    found = {}
    for variable in domain.variables:
        plates = sorted(variable.plates)
        for where in itertools.product(*(range(sizes[plate]) for plate in plates)):
            found[variable.name, tuple(zip(plates, where, strict=True))] = variable.size
    return found


def joint_table(tables, domain):
    """The logarithm of the product of all tables, with one dim for each copy of each variable."""
    dims = copies(domain)
    order = list(dims)
    sizes = domain.sizes()
    around = {variable.name: sorted(variable.plates) for variable in domain.variables}
    dtype = tables[0].values.dtype if tables else torch.float64
    joint = torch.zeros(list(dims.values()), dtype=dtype)
    for table in tables:
        plates = sorted(table.plates)
        for where in itertools.product(*(range(sizes[plate]) for plate in plates)):
            element = dict(zip(plates, where, strict=True))
            part = table.values[tuple(element.get(name, slice(None)) for name in table.names)]
            held = [name for name in table.names if name in around]
            places = [order.index((name, tuple((plate, element[plate]) for plate in around[name]))) for name in held]
            part = part.permute(sorted(range(len(held)), key=places.__getitem__))
            shape = [size if place in places else 1 for place, size in enumerate(dims.values())]
            joint = joint + part.reshape(shape)
    return joint, order


def at_element(tables, domain, element):
    """The same problem with a plate index fixed: what a kept plate means."""
    from aleator_enum_discrete.engine.tables import Domain, Table, Variable

    fixed = []
    for table in tables:
        values = table.values[tuple(element.get(name, slice(None)) for name in table.names)]
        names = tuple(name for name in table.names if name not in element)
        fixed.append(Table(values, names, table.plates - element.keys()))
    variables = tuple(Variable(each.name, each.size, each.plates - element.keys()) for each in domain.variables)
    return fixed, Domain(variables, tuple((name, size) for name, size in domain.plates if name not in element))
