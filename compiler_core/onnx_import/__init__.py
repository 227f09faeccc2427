"""ONNX files in, Graphs out: the one package that imports onnx."""
