"""The average of a network's weights over the last steps of training."""

import numpy as np

from minigrad.device import current_device


class RunningAverage:
    """Exponential moving average of arrays, of decay min(d, (1 + n) / (10 + n)) at step n to forget the first ones."""

    def __init__(self, state: dict[str, np.ndarray], decay: float) -> None:
        self.state = {}
        for name, array in state.items():
            with current_device(array):
                self.state[name] = array.copy()
        self.decay, self.count = decay, 0

    def update(self, state: dict[str, np.ndarray]) -> None:
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        for name, average in self.state.items():
            if average.dtype.kind == "f":
                average += (state[name] - average) * average.dtype.type(1 - decay)
            else:  # a count of batches, say
                average[...] = state[name]
