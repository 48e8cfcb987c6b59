"""The numpy golden: the arithmetic that the RTL must equal bit by bit."""
