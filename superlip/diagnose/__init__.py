"""Where and why a run goes wrong: the first wrong value, hangs, damaged images, programs in words."""
