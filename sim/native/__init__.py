"""C++ sources of the native cluster simulator."""
