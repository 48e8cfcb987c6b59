"""Operators: what each one is, and the words that it works on."""
