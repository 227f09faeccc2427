"""One builder an ONNX operator, grouped by kind."""
