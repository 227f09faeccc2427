"""From digests to answers: lookup, selectors, near misses and their explanations."""
