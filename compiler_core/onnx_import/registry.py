"""The importer's one table: operator -> builder. A new operator is an entry in the table of its room."""

from collections.abc import Mapping

from compiler_core.onnx_import.attention import ATTENTION
from compiler_core.onnx_import.context import Build
from compiler_core.onnx_import.contraction import CONTRACTIONS
from compiler_core.onnx_import.convolution import CONVOLUTIONS
from compiler_core.onnx_import.elementwise import ELEMENTWISE
from compiler_core.onnx_import.gathering import GATHERING
from compiler_core.onnx_import.host import HOST
from compiler_core.onnx_import.microsoft import MICROSOFT, simplified_layer_normalization
from compiler_core.onnx_import.movement import MOVEMENT
from compiler_core.onnx_import.normalization import NORMALIZATIONS
from compiler_core.onnx_import.packed_weights import PACKED
from compiler_core.onnx_import.pooling import POOLING
from compiler_core.onnx_import.quantized import QUANTIZED, QUANTIZED_MICROSOFT
from compiler_core.onnx_import.recurrent import RECURRENT
from compiler_core.onnx_import.reduction import REDUCTIONS
from compiler_core.onnx_import.resize import RESIZES
from compiler_core.onnx_import.runtime_shapes import with_runtime_shapes
from compiler_core.onnx_import.sources import SOURCES
from compiler_core.onnx_import.standard import STANDARD
from compiler_core.onnx_import.transposed_convolution import TRANSPOSED_CONVOLUTIONS
from compiler_core.onnx_import.views import VIEWS

_STANDARD = (
    ATTENTION,
    CONTRACTIONS,
    CONVOLUTIONS,
    ELEMENTWISE,
    GATHERING,
    HOST,
    MOVEMENT,
    NORMALIZATIONS,
    POOLING,
    QUANTIZED,
    RECURRENT,
    REDUCTIONS,
    RESIZES,
    SOURCES,
    STANDARD,
    TRANSPOSED_CONVOLUTIONS,
    VIEWS,
)
_MICROSOFT = (MICROSOFT, PACKED, QUANTIZED_MICROSOFT)

BUILDERS: Mapping[tuple[str, str], Build] = {
    # onnxruntime writes this one into the standard domain
    ("", "SimplifiedLayerNormalization"): simplified_layer_normalization,
    **{("", op_type): build for room in _STANDARD for op_type, build in with_runtime_shapes(room).items()},
    **{("com.microsoft", op_type): build for room in _MICROSOFT for op_type, build in room.items()},
}
