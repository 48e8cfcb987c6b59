"""From a quantized ONNX model, in QDQ or QOperator format or a mixture, to the quantized graph.

The importer walks the nodes once. For each tensor of the model it knows one of

* a constant,
* a tensor of integers: a ``View`` of a value of the quantized graph,
* a float tensor that is exactly such a tensor dequantized: a ``View`` too,
* a float tensor that an operator is about to give (``Pending``): the node of the quantized graph is made when
  QuantizeLinear says which scale and zero point its result has,
* a float tensor of which nothing is known: what the host has to compute.
"""

from .walk import import_model

__all__ = ["import_model"]
