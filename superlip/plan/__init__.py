"""Partition of layers over boards, tiles and traffic."""
