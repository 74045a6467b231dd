"""Networks from and to other libraries: NIR, snnTorch, ONNX, and integer weights.

What is written holds the same weights, time constants and thresholds. It is the same *network* only
where the other side has neurons that fire once; docs/interchange.md has the table of what is exact.
Each function imports the library that it needs when it is called.
"""

from ._integers import Quantised, quantised
from ._nir_read import from_nir
from ._nir_write import to_nir
from ._onnx import to_onnx
from ._snntorch import from_snntorch

__all__ = ["Quantised", "from_nir", "from_snntorch", "quantised", "to_nir", "to_onnx"]
