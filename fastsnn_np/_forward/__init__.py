"""`forward`, `prepare` and `stream`: a network on whatever the input is and wherever it lives.

`_api` has the three functions, ``_input`` the layout of `x` and its batches, ``_choice`` the table
of engines, ``_prepared`` a network made ready, ``_chain`` the loop over its layers, ``_results``
what comes out.
"""

from ._api import forward, prepare, stream
from ._input import Layout
from ._prepared import Prepared
from ._results import Result, State

__all__ = ["Layout", "Prepared", "Result", "State", "forward", "prepare", "stream"]
