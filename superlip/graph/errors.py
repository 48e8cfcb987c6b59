"""The exceptions for models and images that cannot be used, and what other libraries' exceptions say in one line."""

import re

from onnx import NodeProto

__all__ = ["DataError", "ModelError", "node_line", "one_line"]


class ModelError(ValueError):
    """What is wrong with the model (or its calibration data), which node, and what would be right."""


class DataError(ModelError):
    """Images or labels that can't be used; names the file, the array, what it holds and what is wanted."""


_SOURCE = r"(?:/\S*|\b\w+)\.(?:cc|h|cpp):\d+ "
_SIGNATURE = r"(?:[\w:~<>&*, ]*?[\w:~]+\([^()]*(?:\([^()]*\)[^()]*)*\)(?: const)?|\w+ \w+ :)\s*"
_INTERNALS = [
    (r"==> Context:.*", ""),
    (r"\[ONNXRuntimeError\] : \d+ : \w+ : ", ""),
    (r"(?:Load model from \S+ failed:|Exception during initialization: )", ""),
    (r"Non-zero status code returned while running (\w+) node\. Name:'([^']*)' Status Message: ", r"\1 '\2': "),
    (r"Node \(([^)]*)\) Op \((\w+)\) (?:\[\w+\] )?", r"\2 '\1': "),
    (r'In Node, \("([^"]*)", (\w+), "[^"]*", -?\d+\) : .*? -> \(.*?\) ?, (?:Error )?(?!\))', r"\2 '\1': "),
    (r"Type Error: Type '(.*?)' of input parameter \((.*?)\) of operator \((\w+)\) in node \((.*?)\) is invalid\.",
     r"\3 '\4': its operand '\2' has the type \1, which it does not take"),
    (r"Type Error: Type parameter \(\w+\) of Optype \((\w+)\) bound to different types "
     r"\((.*?) and (.*?) in node \((.*?)\)\.",
     r"\1 '\4': its operands have different types, \2 and \3"),
    (r"This is an invalid model\. (?:Error(?: in Node)?: )?", ""),
    (_SOURCE + _SIGNATURE, ""),
    (_SOURCE, ""),
    (r"\[with .*?\] ", ""),
    (r"\[\w+Error\] ", ""),
]  # fmt: skip
"""What a user has no use for in a message of ONNX Runtime or ONNX, and what takes its place."""


def one_line(error: object, limit: int = 240) -> str:
    """What another library's exception says, without source files, addresses and status codes, on one line."""
    text = " ".join(str(error).split())
    for pattern, instead in _INTERNALS:
        text = re.sub(pattern, instead, text)
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text).strip()
    text = text or type(error).__name__
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def node_line(error: object, node: NodeProto) -> str:
    """``one_line`` of what went wrong with a node that the reader knows already: without its name."""
    return one_line(error).removeprefix(f"{node.op_type} '{node.name}': ")
