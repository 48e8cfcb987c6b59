"""From a plan to programs and memory images."""
