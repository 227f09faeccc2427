"""The state of an import: values, shapes, frames, loops."""
