"""Synthetic speakers: speech by espeak-ng, mouths that go with it, and pictures of them."""
