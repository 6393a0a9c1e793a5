"""The handler that runs a program on all values of its discrete sites at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar, final, overload

from torch import Tensor

from aleator.broadcasting import broadcast_to_frames
from aleator.distributions import Categorical
from aleator.errors import UnsupportedModelError
from aleator.infer.factor import SUMMED_OUT
from aleator.messenger import Messenger
from aleator.scoring import KNOWN_LOG_PROB, KnownLogProb, is_deterministic
from aleator.sites import Site
from aleator.stash import StashKey
from aleator_enum_discrete.enumerated_dims import DIM_NAMES, DimAllocator, Enumerated, ProgramDims

__all__ = ["CHOSEN", "Choice", "EnumMessenger", "all_values", "enum", "is_marked"]

P = ParamSpec("P")
R = TypeVar("R")


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """The value that a sequentially enumerated site has in one of the runs.

    Attributes:
        name: the site.
        index: which of its values.
        size: how many it has.
    """

    name: str
    index: int
    size: int


CHOSEN: StashKey[Choice] = StashKey("chosen")
"""On a site that is enumerated sequentially: which of its values this run is about."""


def is_marked(site: Site) -> bool:
    """Whether a site without a value is to be enumerated in parallel."""
    return site.infer.get("enumerate") == "parallel" and not site.is_observed


@final
class EnumMessenger(Messenger):
    """Put all values of the marked sites, or several draws, along tensor dims of their own.

    Args:
        dims: what gives out dims; shared by a guide and its model.
        is_guide: whether the program is a guide: then sites may be enumerated sequentially, or by draws.
        choices: the values of the first sequential sites; the next ones take their first value.
        first_dim: for one program alone, the rightmost dim to give out; each entry then begins anew.
    """

    def __init__(
        self,
        dims: DimAllocator | None = None,
        is_guide: bool = False,
        choices: Sequence[Choice] = (),
        first_dim: int = -1,
    ) -> None:
        self._first_dim = first_dim
        self._dims = dims
        self._is_guide = is_guide
        self._program = ProgramDims(dims if dims is not None else DimAllocator(first_dim), is_guide)
        self._enumerated = dims.enumerated if dims is not None else {}
        self._given = choices
        self.choices: list[Choice] = []
        self.has_enumerated = False

    def begin(self) -> EnumMessenger:
        """Return a handler with dims of its own, where none were given."""
        return self if self._dims is not None else EnumMessenger(DimAllocator(self._first_dim))

    def process_sample(self, site: Site) -> None:
        """Give a marked site its values, unless it has one; take note of one that has the guide's."""
        if site.value is not None or site.done:
            enumerated = self._enumerated.get(site.name)
            if enumerated is not None and not site.is_observed:
                self._program.hold(site, enumerated)
            return
        mark = site.infer.get("enumerate")
        if mark is None:
            return
        if mark == "parallel":
            self._spread(site)
        elif mark == "sequential":
            self._choose(site)
        else:
            raise ValueError(
                f"site {site.name!r} asks for the enumeration {mark!r}; write infer={{'enumerate': 'parallel'}}, "
                f"'sequential', or leave it out"
            )

    def postprocess_sample(self, site: Site) -> None:
        """Say on the site what the dims mean there."""
        if not is_deterministic(site):
            site.stash[DIM_NAMES] = self._program.names_at(site)

    def _spread(self, site: Site) -> None:
        count = site.infer.get("num_samples")
        if count is not None and not self._is_guide:
            raise UnsupportedModelError(
                f"model site {site.name!r} asks for num_samples={count!r}, but draws belong to a guide; leave "
                f"num_samples out to sum over all values, or sample the site in the guide"
            )
        self.has_enumerated = True
        values = self._values(site, count)
        dim = self._program.give(site)
        enumerated = Enumerated(dim, values.shape[0], count is None)
        self._program.hold(site, enumerated)
        site.value = _laid_along(values, dim, len(site.fn.event_shape))
        site.done = True
        if enumerated.is_exact and type(site.fn) is Categorical:
            # Not the site itself: it would hold itself, and the step's graph, until the next garbage collection.
            way = partial(_all_log_probs, dim)
            site.stash[KNOWN_LOG_PROB] = KnownLogProb(site.value, way, (_all_log_probs, dim), lacks_plates=True)
        if not self._is_guide:
            site.stash[SUMMED_OUT] = True

    def _values(self, site: Site, count: int | None) -> Tensor:
        """Return a site's values, or so many draws, along the leftmost dim."""
        if site.infer.get("expand") is True:
            broadcast_to_frames(site)
            return self._over_plates(site, all_values(site)) if count is None else _draws(site, count)
        if count is not None:
            broadcast_to_frames(site)
            return _draws(site, count)
        return site.fn.categories() if type(site.fn) is Categorical else all_values(site)

    def _over_plates(self, site: Site, values: Tensor) -> Tensor:
        """Expand values over the plates of their site, not over the dims of other enumerated sites."""
        event_dim = len(site.fn.event_shape)
        batch = site.fn.batch_shape
        first = self._program.first_dim
        sizes = [size if place - len(batch) > first else 1 for place, size in enumerate(batch)]
        return values.expand(values.shape[0], *sizes, *values.shape[values.dim() - event_dim :])

    def _choose(self, site: Site) -> None:
        if not self._is_guide:
            raise UnsupportedModelError(
                f"model site {site.name!r} asks for sequential enumeration, which is done in a guide; mark it "
                f"'parallel' to sum it out here, or sample it in the guide with the mark 'sequential'"
            )
        self.has_enumerated = True
        broadcast_to_frames(site)
        values = self._over_plates(site, all_values(site))
        place = len(self.choices)
        index = self._given[place].index if place < len(self._given) else 0
        choice = Choice(site.name, index, values.shape[0])
        self.choices.append(choice)
        site.value = values[index]
        site.done = True
        site.stash[CHOSEN] = choice


def all_values(site: Site) -> Tensor:
    """Return the support of a site's distribution, its values along the leftmost dim, the batch dims of size 1.

    Raises:
        UnsupportedModelError: naming the site, where the values cannot be listed.
    """
    if not getattr(site.fn, "has_enumerate_support", False):
        raise UnsupportedModelError(
            f"site {site.name!r} asks for enumeration, but {type(site.fn).__name__} cannot list its values; take the "
            f"mark away, or sample several values by infer={{'enumerate': 'parallel', 'num_samples': n}} in a guide"
        )
    try:
        values: Tensor = site.fn.enumerate_support(expand=False)
    except NotImplementedError as error:
        raise UnsupportedModelError(
            f"site {site.name!r} asks for enumeration, but its values cannot be listed: {error}; give every component "
            f"a site or a plate of its own instead of .to_event"
        ) from error
    return values


def _draws(site: Site, count: Any) -> Tensor:  # noqa: ANN401  # what a user wrote
    if type(count) is not int or count < 1:
        raise ValueError(f"site {site.name!r}: num_samples must be a positive int, but is {count!r}")
    draw = site.fn.rsample if site.fn.has_rsample else site.fn.sample
    values: Tensor = draw((count,))
    return values


def _all_log_probs(dim: int, fn: Categorical, outer: int) -> Tensor:
    """Return the log-probabilities of all categories as they are, laid along a dim: nothing is looked up."""
    logits = fn.logits
    lead, batch = logits.shape[:outer], logits.shape[outer:-1]
    if len(batch) < -dim:
        between = (1,) * (-dim - 1 - len(batch))
        return logits.movedim(-1, outer).reshape(*lead, logits.shape[-1], *between, *batch)
    assert logits.shape[dim - 1] == 1  # the dim was free where the site stands
    return logits.transpose(dim - 1, -1).squeeze(-1)


def _laid_along(values: Tensor, dim: int, event_dim: int) -> Tensor:
    """Move the leftmost dim of ``(n, *batch, *event)`` to a batch dim counted from the right, which is free there."""
    batch = values.dim() - 1 - event_dim
    if values.numel() == values.shape[0] and not event_dim:
        return values.reshape(-1, *(1,) * (-dim - 1))
    if batch < -dim:
        event = values.shape[values.dim() - event_dim :]
        shape = (values.shape[0], *(1,) * (-dim - 1 - batch), *values.shape[1 : 1 + batch], *event)
        return values.reshape(shape)
    place = batch + dim
    assert values.shape[1 + place] == 1  # the dim was free where the site stands
    return values.squeeze(1 + place).movedim(0, place)


@overload
def enum(fn: None = None, first_available_dim: int | None = None) -> EnumMessenger: ...
@overload
def enum(fn: Callable[P, R], first_available_dim: int | None = None) -> Callable[P, R]: ...
def enum(fn: Any = None, first_available_dim: int | None = None) -> Any:
    """Run a program on all values of the sites marked ``infer={"enumerate": "parallel"}``, each along its own dim.

    Args:
        fn: the function to handle.
        first_available_dim: the rightmost dim to use, left of all plates and batch dims; negative. By default -1, for
            programs without plates.

    Raises:
        ValueError: a dim that is not negative, or a mark that is neither ``"parallel"`` nor ``"sequential"``.
        UnsupportedModelError: naming a site whose values cannot be listed, or one that is marked sequential.

    Example:
        >>> import aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> def model():
        ...     return aleator.sample("z", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
        >>> handlers.enum(model, first_available_dim=-2)().shape
        torch.Size([2, 1])
    """
    first = -1 if first_available_dim is None else first_available_dim
    if isinstance(first, bool) or not isinstance(first, int) or first >= 0:
        raise ValueError(
            f"enum: first_available_dim counts from the right and must be a negative int, but is "
            f"{first_available_dim!r}"
        )
    messenger = EnumMessenger(first_dim=first)
    return messenger if fn is None else messenger(fn)
