"""Checks of a Program: its rules, its numbers, an emulator in numpy."""
