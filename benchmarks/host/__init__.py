"""The host bench: kernels tuned on this CPU, beside onnxruntime and OpenBLAS."""
