"""The operators that the walk enters: those whose nodes hold graphs."""

from collections.abc import Mapping

from tilewright.compiler_core.onnx_import.control.branches import enter_if
from tilewright.compiler_core.onnx_import.control.loops import enter_loop
from tilewright.compiler_core.onnx_import.control.maps import enter_sequence_map
from tilewright.compiler_core.onnx_import.control.scans import enter_scan
from tilewright.compiler_core.onnx_import.walk import Enter

ENTER: Mapping[str, Enter] = {
    "If": enter_if,
    "Loop": enter_loop,
    "Scan": enter_scan,
    "SequenceMap": enter_sequence_map,
}
