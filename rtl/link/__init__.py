"""Frames between boards: CRC, credits, sender and receiver."""
