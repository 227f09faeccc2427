"""From a known network to a native library: built, run, judged, published."""
