"""From digests to answers: lookup, near misses and their explanations."""
