"""Steps between two reports, whose losses and checks are read back from the device together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from aleator.validation import PendingChecks
from aleator_svi_elbo.evaluation import Evaluation
from aleator_svi_elbo.memory import RunMemory
from aleator_svi_elbo.training import Training
from aleator_svi_elbo.verification import Numbers, all_hold, numbers_of

__all__ = ["LONGEST", "Block", "reads_are_costly"]

LONGEST = 1000  # steps: so much work is repeated at most, and so many losses wait on the device


def reads_are_costly(leaves: Mapping[str, Tensor]) -> bool:
    """Tell whether reading a number makes the host wait: where a parameter lies on an accelerator."""
    return any(leaf.device.type != "cpu" for leaf in leaves.values())


@final
class Block:
    """Takes the steps of a run in blocks; what comes of it is what comes of the steps one by one.

    Where a read is cheap, a block is one step. Elsewhere a block remembers the run, takes its steps without looking
    at them, and reads all their numbers at once. Where a step turns out not to hold, the run is put back, the steps
    before it are taken again, and then that step, each looked at: the programs run again for them.

    Args:
        training: the run.
        evaluation: what every step evaluates.
        losses: where the loss of every step goes.
        moves_schedule: whether each step is an epoch of the schedule.
    """

    __slots__ = ("_evaluation", "_losses", "_moves_schedule", "_training")

    def __init__(self, training: Training, evaluation: Evaluation, losses: list[float], moves_schedule: bool) -> None:
        self._training = training
        self._evaluation = evaluation
        self._losses = losses
        self._moves_schedule = moves_schedule

    def take(self, most: int) -> int:
        """Take steps, and return how many.

        Args:
            most: how many there may be before somebody must know a loss.

        Raises:
            BaseException: as the step that raises does; the steps before it have been taken.
        """
        if most == 1 or not self._may_wait():
            self._step()
            return 1
        memory, pending = RunMemory(self._training), _Pending()
        try:
            self._step_unseen(memory, pending, min(most, LONGEST))
        except Exception:
            if self._settled(memory, pending):
                raise
        except BaseException:  # an interrupt ends the run here: nothing is repeated, but the run must be whole
            if not self._settled(memory, pending):
                memory.restore(self._training)
            raise
        else:
            if self._settled(memory, pending):
                return pending.count
        return self._repeat(memory, pending.holding() + 1)

    def _may_wait(self) -> bool:
        training = self._training
        is_compiled = training.compiled is not None
        reads_itself = training.optimizer.requires_closure or self._evaluation.loss_and_grads is not None or is_compiled
        return not reads_itself and reads_are_costly(training.leaves)

    def _step(self) -> None:
        loss = self._training.step(self._evaluation)
        self._losses.append(loss)
        if self._moves_schedule:
            self._training.scheduler_step(torch.tensor(loss))

    def _step_unseen(self, memory: RunMemory, pending: _Pending, most: int) -> None:
        """Take steps without reading a number; end early where a parameter appears that cannot be put back."""
        training = self._training
        known = True
        while known and pending.count < most:
            with training.randomness():
                result, checks = self._evaluation.gradients()
                numbers = numbers_of(result, checks)
                pending.add(numbers, checks)
                known = memory.holds(result.leaves)
                if not known and pending.holding() < pending.count:
                    return
                training.apply(result._replace(grads=_finite(result.grads, numbers)))
            if self._moves_schedule:
                training.scheduler_step(result.loss.to(torch.get_default_dtype()))

    def _settled(self, memory: RunMemory, pending: _Pending) -> bool:
        """Read the numbers; where all steps hold, note the losses of those that were taken."""
        if pending.holding() < pending.count:
            return False
        self._losses.extend(pending.losses()[: self._training.steps_taken - memory.steps_taken])
        pending.remember()
        return True

    def _repeat(self, memory: RunMemory, count: int) -> int:
        """Take the steps of a block once more, one by one; the last of them is the one that did not hold.

        It may hold all the same: a sum of large gradients overflows, or the programs do not repeat.
        """
        memory.restore(self._training)
        for _ in range(count):
            self._step()
        return count


@final
class _Pending:
    """The numbers of the steps of a block, and the last one's checks."""

    __slots__ = ("_checks", "_numbers", "_read")

    def __init__(self) -> None:
        self._numbers: list[Numbers] = []
        self._read: list[list[float]] = []
        self._checks: PendingChecks | None = None

    @property
    def count(self) -> int:
        """The number of steps."""
        return len(self._numbers)

    def add(self, numbers: Numbers, checks: PendingChecks) -> None:
        """Take note of a step; of its checks only what a later step may leave out, and no graph."""
        self._numbers.append(numbers)
        checks.notes[:] = [
            note for note in checks.notes if isinstance(note.owner, str) and not note.value.requires_grad
        ]
        self._checks = checks

    def holding(self) -> int:
        """Return how many of the steps hold, up to the first that does not; one host read for all of them."""
        self._fetch()
        verdicts = map(all_hold, self._read, (numbers.has_flag for numbers in self._numbers))
        return next((index for index, holds in enumerate(verdicts) if not holds), self.count)

    def losses(self) -> list[float]:
        """Return the losses of all steps."""
        self._fetch()
        return [numbers[0] for numbers in self._read]

    def remember(self) -> None:
        """Record that the data of the last step need no further check while they are unchanged."""
        if self._checks is not None:
            self._checks.remember()

    def _fetch(self) -> None:
        unread = [numbers.values for numbers in self._numbers[len(self._read) :]]
        if unread:
            flat = torch.cat([values.to(unread[0].device) for values in unread]).tolist()
            for values in unread:
                self._read.append(flat[: values.shape[0]])
                del flat[: values.shape[0]]


def _finite(grads: dict[str, Tensor], numbers: Numbers) -> dict[str, Tensor]:
    """Return zeros for the gradients of a step in which one of them is not finite.

    Nobody has seen yet that the step does not hold, and until then the programs go on: with values that they were made
    for, where NaN could keep a rejection sampler for ever.
    """
    sound = numbers.values[1:].isfinite().all()
    return {
        name: torch.where(sound, grad, 0.0) if grad.layout is torch.strided else grad for name, grad in grads.items()
    }
