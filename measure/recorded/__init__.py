"""Recorded measurements: tables in the T4 format, and a device that answers from one."""
