"""What surrounds a simulated run: images, accuracy, comparison with the golden."""
