"""A lowered kernel and a Target as tables of integers: what the timeline runs on."""
