"""The farm on Ray: cluster, driver, members, slots, workers."""
