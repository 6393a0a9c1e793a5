"""The record that a primitive sends through the handlers, and the frames of the plates around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, final

from aleator.stash import Stash

if TYPE_CHECKING:
    from aleator.markov import MarkovFrame

__all__ = ["PlateFrame", "Site", "SiteType"]

SiteType = Literal["sample", "param", "subsample", "plate", "markov", "args", "return"]


class PlateFrame(NamedTuple):
    """One plate around a site.

    Attributes:
        name: the plate's name.
        dim: the tensor dim that the plate owns, counted from the right (negative); ``None`` in a sequential plate.
        size: how many elements are in this run (the subsample's size).
        full_size: how many elements the plate has in all.
        counter: the number of the loop's turn in a sequential plate, else 0.
    """

    name: str
    dim: int | None
    size: int
    full_size: int
    counter: int = 0

    @property
    def vectorized(self) -> bool:
        """Whether the plate is a tensor dim, not a loop."""
        return self.dim is not None

    @property
    def scale(self) -> float:
        """The weight of one subsampled element: ``full_size / size``."""
        return self.full_size / self.size if self.size else 0.0


@final
class Site:
    """One call of a primitive on its way through the handlers; afterwards a row of a trace.

    Fields are read and written as attributes or as items: ``site.value`` and ``site["value"]`` are the same.

    Attributes:
        type: which primitive: ``sample param subsample plate markov`` (``args``, ``return`` in a trace).
        name: the site's name, unique in its run.
        fn: the distribution of a sample site, or the function that gives the value.
        args, kwargs: what ``fn`` is called with.
        value: the value, ``None`` until it is known.
        is_observed: whether the value is data.
        infer: options that algorithms read at this site.
        scale: a factor on the log-probability, set by handlers only (a plate's scale is in its frame).
        mask: which elements count; ``None`` for all.
        frames: the plates around the site, the outermost first.
        markov_frames: the markov contexts around the site, the outermost first.
        done: whether the value is final; a primitive's default behaviour then leaves it alone.
        stop: whether the handlers further out are passed over.
        stash: plugins' private data under typed keys.
    """

    __slots__ = (
        "_stash",
        "args",
        "done",
        "fn",
        "frames",
        "infer",
        "is_observed",
        "kwargs",
        "markov_frames",
        "mask",
        "name",
        "scale",
        "stop",
        "type",
        "value",
    )

    def __init__(
        self,
        type: SiteType,
        name: str,
        fn: Any = None,  # noqa: ANN401  # a distribution or any callable
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        value: Any = None,  # noqa: ANN401  # a tensor for most sites; indices, frames, inputs for others
        is_observed: bool = False,
        infer: dict[str, Any] | None = None,
    ) -> None:
        self.type = type
        self.name = name
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.value = value
        self.is_observed = is_observed
        self.infer = {} if infer is None else infer
        self.scale: Any = 1.0
        self.mask: Any = None
        self.frames: tuple[PlateFrame, ...] = ()
        self.markov_frames: tuple[MarkovFrame, ...] = ()
        self.done = False
        self.stop = False
        self._stash: Stash | None = None

    @property
    def stash(self) -> Stash:
        """Plugins' private data, made when first asked for."""
        if self._stash is None:
            self._stash = Stash()
        return self._stash

    def __getitem__(self, field: str) -> Any:  # noqa: ANN401  # fields have many types
        if field in SITE_FIELDS:
            return getattr(self, field)
        raise KeyError(f"a site has no field {field!r}; its fields are {', '.join(SITE_FIELDS)}")

    def __setitem__(self, field: str, value: Any) -> None:  # noqa: ANN401  # fields have many types
        if field not in SITE_FIELDS:
            raise KeyError(f"a site has no field {field!r}; its fields are {', '.join(SITE_FIELDS)}")
        setattr(self, field, value)

    def __contains__(self, field: object) -> bool:
        return field in SITE_FIELDS

    def __iter__(self) -> Iterator[str]:
        return iter(SITE_FIELDS)

    def get(self, field: str, default: Any = None) -> Any:  # noqa: ANN401  # fields have many types
        """Return a field's value, or the default where a site has no such field."""
        return getattr(self, field) if field in SITE_FIELDS else default

    def keys(self) -> tuple[str, ...]:
        """The names of the fields."""
        return SITE_FIELDS

    def copy(self) -> Site:
        """Return a record of its own with the same values; ``infer`` and the stash are copied, tensors are shared."""
        other = Site.__new__(Site)
        for slot in Site.__slots__:
            setattr(other, slot, getattr(self, slot))
        other.infer = dict(self.infer)
        other._stash = None if self._stash is None else self._stash.copy()
        return other

    def __repr__(self) -> str:
        shape = tuple(self.value.shape) if hasattr(self.value, "shape") else self.value
        kind = "observed" if self.is_observed else self.type
        return f"Site({self.name!r}, {kind}, fn={self.fn!r}, value={shape})"


SITE_FIELDS = (
    "type",
    "name",
    "fn",
    "args",
    "kwargs",
    "value",
    "is_observed",
    "infer",
    "scale",
    "mask",
    "frames",
    "done",
    "stop",
    "stash",
)
