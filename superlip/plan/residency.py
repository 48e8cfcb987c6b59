"""Which weights stay in the weight buffer from image to image."""

__all__ = ["Residents"]


class Residents:
    """Chooses which blocks stay in the weight buffer from image to image.

    Blocks are offered as (key, words, uses per word and image); those that are used least are loaded
    at the worst ratio of traffic to work, so they are kept first. If all fit, all stay.
    """

    def __init__(self, blocks, capacity, ring_words):
        total = sum(words for _, words, _ in blocks)
        self.address = {}
        room = capacity if total <= capacity else max(0, capacity - ring_words)
        end = 0
        for key, words, _ in sorted(blocks, key=lambda block: block[2]):
            if end + words <= room:
                self.address[key] = end
                end += words
        self.words = end
