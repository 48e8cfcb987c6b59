"""The node in Amaranth: PE array, buffers, units, links."""
