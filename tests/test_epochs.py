"""Which recordings the steps of an epoch take."""

import jax
import numpy as np
import small

from sast_jax.training import epochs, passes, stepping
from sast_jax.training.batches import Independent, Shuffled
from sast_jax.training.gradients import Sharpness


def test_every_recording_comes_once_an_epoch_and_otherwise_the_next():
    made = small.recipe(batches=Shuffled(8, 5))
    state_R = stepping.initialise(made, small.hyper((0, 1)))
    first = epochs.epoch_order(made, state_R, small.N, True)
    assert first.ascent is None
    assert (np.sort(first.descent.reshape(2, -1)) == np.arange(small.N)).all()
    assert (first.descent[0] != first.descent[1]).any()
    later = epochs.epoch_order(made, state_R._replace(step=state_R.step + 5), small.N, True)
    assert (first.descent != later.descent).any()
    middle = epochs.epoch_order(made, state_R._replace(step=state_R.step + 8), small.N, True)
    np.testing.assert_array_equal(middle.descent, later.descent)


def test_independent_batches_are_drawn_from_the_whole_set_each_time():
    made = small.recipe(batches=Independent(small.N, 50), sharpness=Sharpness(independent=True))
    state_R = stepping.initialise(made, small.hyper())
    order = epochs.epoch_order(made, state_R, small.N, True)
    for batches_SxB in (order.descent[0], order.ascent[0]):
        counts_N = np.bincount(batches_SxB.ravel(), minlength=small.N)
        assert counts_N.min() > 25 and counts_N.max() < 80  # 50 on average, by chance
        assert max(len(np.unique(batch)) for batch in batches_SxB) < small.N
    assert (order.descent != order.ascent).mean() > 0.9


def test_an_epoch_moves_nothing_between_host_and_device_unasked():
    made, hyper_R = small.recipe(epochs=3), small.hyper((0, 1), (0.1, 0.2))
    state_R = stepping.initialise(made, hyper_R)
    trained = passes.by_epoch(passes.blocks(made, hyper_R, small.frames(), False, state_R, 0))
    next(trained)  # compiles, which takes constants to the device
    with jax.transfer_guard("disallow"):
        for _ in trained:
            pass
