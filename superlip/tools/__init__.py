"""What every floor may use and none is about: terminal, files, progress, cache, toolchain."""
