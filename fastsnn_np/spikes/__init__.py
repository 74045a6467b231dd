"""Two sparse forms of spikes, and their exact conversions to and from a dense array.

===============  ==========================================  =======================
form             holds                                       for
===============  ==========================================  =======================
dense array      (batch, neurons, time)                      analogue input, autograd
`SpikeTimes`     one step per neuron, or "never"             neurons that fire once
`Events`         every event of every sample, by time        recordings
===============  ==========================================  =======================

"Never fired" is the number of steps T in `SpikeTimes` and in the results of a run, whose window
ends there; in a `State`, whose recording has no end, it is -1.
"""

from ._compressed import Compressed, compressed
from ._events import Events
from ._shape import Shape, samples_of, shape_of
from ._times import SpikeTimes

__all__ = ["Compressed", "Events", "Shape", "SpikeTimes", "compressed", "samples_of", "shape_of"]
