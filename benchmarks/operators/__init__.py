"""Every operator beside the standard's own cases, onnx's reference evaluator and onnxruntime."""
