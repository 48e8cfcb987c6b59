"""What a run or a plan comes to: rows, where each cycle went, tables, JSON."""

from .report import Report

__all__ = ["Report"]
