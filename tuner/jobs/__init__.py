"""Jobs of the service and the runner that works on them."""
