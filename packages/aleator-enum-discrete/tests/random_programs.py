"""Random programs of discrete sites: with plates that nest, masks, and steps that remember a few before them."""

import math
import random
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
from hypothesis import assume
from hypothesis import strategies as st

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.ops import Vindex
from aleator_enum_discrete.engine.tables import Domain, Table, Variable
from brute_force import copies

DIMS = {"copies": -3, "outer": -2, "inner": -1, "side": -1}
ORDINALS = [(), (), ("outer",), ("outer", "inner"), ("side",)]


@dataclass(frozen=True, eq=False)
class Site:
    """A discrete site. Its logits are over the plates that it varies along, its parents and its own values."""

    name: str
    size: int
    plates: tuple[str, ...]
    parents: tuple["Site", ...]
    family: str
    logits: torch.Tensor
    varies: bool = False
    observed: torch.Tensor | None = None
    mask: torch.Tensor | bool | None = None

    def looked_up(self, values):
        """The logits given the parents' values, as a model writes it down."""
        index = []
        for parent in self.parents:
            value = values[parent.name]
            index.append(value.argmax(-1) if parent.family == "one-hot" else value.long())
        if not self.varies:
            return Vindex(self.logits)[(*index, slice(None))]
        wide = [1, 1]
        for plate, size in zip(self.plates, self.logits.shape, strict=False):
            wide[DIMS[plate]] = size
        table = self.logits.reshape(*wide, *self.logits.shape[len(self.plates) :])
        return Vindex(table)[(..., *index, slice(None))]

    def distribution(self, values):
        logits = self.looked_up(values)
        if self.family == "bernoulli":
            return dist.Bernoulli(logits=logits[..., 1] - logits[..., 0])
        return (dist.OneHotCategorical if self.family == "one-hot" else dist.Categorical)(logits=logits)

    def sample(self, values, observed=True):
        obs = self.observed if observed else None
        if obs is not None and self.family == "bernoulli":
            obs = obs.to(self.logits.dtype)
        with ExitStack() as around:
            if self.mask is not None:
                around.enter_context(handlers.mask(mask=self.mask))
            values[self.name] = aleator.sample(self.name, self.distribution(values), obs=obs)

    def table(self, sizes, masked_laws=False):
        """The same as a table for brute force, its plates as dims.

        A mask hides data. The law of a latent site counts under it in sums, and where ``masked_laws`` says so, as in
        maxima, it does not.
        """
        counts = [sizes[plate] for plate in self.plates]
        values = self.logits.log_softmax(-1)
        if not self.varies:
            values = values.expand(*counts, *values.shape)
        names = (*self.plates, *(parent.name for parent in self.parents))
        if self.observed is None:
            names = (*names, self.name)
        else:
            index = self.observed.reshape(*counts, *[1] * (len(self.parents) + 1))
            values = values.gather(-1, index.expand(*values.shape[:-1], 1)).squeeze(-1)
        if self.mask is not None and (masked_laws or self.observed is not None):
            mask = torch.full(counts, False) if self.mask is False else self.mask.reshape(counts)
            mask = mask.reshape([*counts, *[1] * (values.dim() - len(counts))])
            values = torch.where(mask, values, torch.zeros_like(values))
        return Table(values, names, frozenset(self.plates))


@dataclass(frozen=True, eq=False)
class Program:
    """Sites in their order, then steps of sites that may depend on ``history`` steps before them."""

    sizes: dict
    sites: tuple[Site, ...]
    steps: tuple[tuple[Site, ...], ...] = ()
    history: int = 1
    prefix: str = ""
    scale: float | None = None
    steps_inside: bool = False

    def every_site(self):
        return [*self.sites, *(site for step in self.steps for site in step)]

    def latent(self):
        return [site for site in self.every_site() if site.observed is None]

    def parameters(self):
        found = {id(site.logits): site.logits for site in self.every_site()}
        return list(found.values())

    def tables(self, masked_laws=False):
        tables = [site.table(self.sizes, masked_laws) for site in self.every_site()]
        variables = (Variable(site.name, site.size, frozenset(site.plates)) for site in self.latent())
        return tables, Domain(tuple(variables), tuple(self.sizes.items()))

    def model(self):
        """The program as an ordinary function, which returns its values by name."""

        def model(plates=None):
            values = {}
            plates = plates or plates_of(self.sizes)
            with ExitStack() as around:
                if self.scale is not None:
                    around.enter_context(handlers.scale(scale=self.scale))
                for site in self.sites:
                    _in_plates(site, plates, site.plates, values)
                common = self.steps[0][0].plates if self.steps and self.steps_inside else ()
                for plate in common:
                    around.enter_context(plates[plate])
                for step in aleator.markov(self.steps, history=self.history):
                    for site in step:
                        _in_plates(site, plates, site.plates[len(common) :], values)
            return values

        return model


def plates_of(sizes):
    return {name: aleator.plate(name, size, dim=DIMS[name]) for name, size in sizes.items()}


def _in_plates(site, plates, names, values):
    with ExitStack() as around:
        for name in names:
            around.enter_context(plates[name])
        site.sample(values)


def requiring_gradient(program):
    """The same program on leaves of its own."""
    leaves = {id(each): each.clone().requires_grad_() for each in program.parameters()}
    found = {}

    def copied(site):
        parents = tuple(found[parent.name] for parent in site.parents)
        found[site.name] = replace(site, logits=leaves[id(site.logits)], parents=parents)
        return found[site.name]

    sites = tuple(map(copied, program.sites))
    return replace(program, sites=sites, steps=tuple(tuple(map(copied, step)) for step in program.steps))


class _Drawn:
    """Choices by hypothesis: they shrink, but tend to the small and the repeated."""

    def __init__(self, draw):
        self._draw = draw

    def between(self, low, high):
        return self._draw(st.integers(low, high))

    def pick(self, options):
        return self._draw(st.sampled_from(options))


class _Seeded:
    """Choices by a seed: even ones."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def between(self, low, high):
        return self._random.randint(low, high)

    def pick(self, options):
        return self._random.choice(options)


@st.composite
def programs(draw, max_states=20_000, zeros=False, masks=True, prefix="", sizes=None):
    """Draw a program whose latent sites have few values together."""
    seed = draw(st.integers(0, 2**31))
    choices = _Drawn(draw) if draw(st.integers(0, 3)) == 0 else _Seeded(seed)
    sizes = sizes or {name: choices.pick([1, 2, 2]) for name in ("outer", "inner", "side")}
    builder = _Builder(choices, seed, zeros, masks, prefix, sizes)
    for place in range(choices.between(0, 4)):
        builder.sites.append(builder.site(f"v{place}", choices.pick(ORDINALS), builder.sites, None))
    steps = []
    history = choices.between(0, 3)
    if not builder.sites or choices.between(0, 1):
        steps = builder.steps(choices.between(1, 6), history, choices.pick(ORDINALS))
    scale = choices.pick([None, None, 0.5, 3.0])
    inside = bool(steps) and choices.between(0, 1) == 1
    program = Program(builder.sizes, tuple(builder.sites), tuple(steps), history, prefix, scale, inside)
    assume(program.latent())
    assume(math.prod(copies(program.tables()[1]).values()) <= max_states)
    return program


class _Builder:
    def __init__(self, choices, seed, zeros, masks, prefix, sizes):
        self.choices, self.zeros, self.masks, self.prefix, self.sizes = choices, zeros, masks, prefix, sizes
        self.source = torch.Generator().manual_seed(seed)
        self.sites = []

    def site(self, name, plates, before, observed, needed=()):
        choices = self.choices
        parents = list(needed)
        usable = [each for each in before if set(each.plates) <= set(plates) and each.observed is None]
        for _ in range(choices.between(0, 2)):
            left = [each for each in usable if each not in parents]
            if left:
                parents.append(choices.pick(left))
        family = choices.pick(["categorical", "categorical", "bernoulli", "one-hot"])
        size = 2 if family == "bernoulli" else choices.pick([2, 2, 3])
        observed = choices.between(0, 3) == 0 if observed is None else observed
        if observed and family == "one-hot":
            family = "categorical"
        varies = bool(plates) and choices.between(0, 1) == 1
        counts = [self.sizes[plate] for plate in plates]
        logits = self.logits([*(counts if varies else []), *(each.size for each in parents), size], family)
        data = mask = None
        wide = [1] * max((-DIMS[plate] for plate in plates), default=0)
        for plate, count in zip(plates, counts, strict=True):
            wide[DIMS[plate]] = count
        if observed:
            data = torch.randint(size, wide, generator=self.source)
        if self.masks and choices.between(0, 3) == 0:
            mask = torch.rand(wide, generator=self.source) < 0.6
            mask = choices.pick([mask, mask, False])
        return Site(self.prefix + name, size, tuple(plates), tuple(parents), family, logits, varies, data, mask)

    def logits(self, shape, family):
        logits = 1.5 * torch.randn(shape, dtype=torch.float64, generator=self.source)
        if self.zeros and family != "bernoulli" and self.choices.between(0, 1):
            hidden = torch.rand(shape, generator=self.source) < 0.3
            hidden[..., 0] &= ~hidden.all(-1)
            logits = logits.masked_fill(hidden, -math.inf)
        return logits

    def steps(self, count, history, plates):
        """A chain of latent sites, perhaps a second one beside it, and data of both."""
        beside, seen, alike = (self.choices.between(0, 1) for _ in range(3))
        inside = (*plates, "inner") if plates == ("outer",) and self.choices.between(0, 1) else plates
        tables = {}

        def shared(site):
            """One table for all steps where it fits."""
            key = site.name[len(self.prefix)], site.logits.shape, site.family
            return replace(site, logits=tables.setdefault(key, site.logits)) if alike else site

        steps = []
        for t in range(count):
            window = [site for step in steps[max(0, t - history) :] for site in step if site.observed is None]
            window = window if history else []
            last = [site for site in window if site.name == f"{self.prefix}z{t - 1}"]
            step = [shared(self.site(f"z{t}", plates, [*window, *self.sites], False, needed=last))]
            if beside:
                step.append(shared(self.site(f"w{t}", plates, [*window, *step], False)))
            if seen:
                step.append(shared(self.site(f"x{t}", inside, [*window, *step], True, needed=step[:1])))
            steps.append(tuple(step))
        return steps
