"""Devices that measure, and the pools of workers that hold them."""
