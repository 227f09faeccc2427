"""The importer's one table: operator -> builder. A new operator is an entry in the table of its room."""

from collections.abc import Mapping

from tilewright.compiler_core.onnx_import.building.context import Build
from tilewright.compiler_core.onnx_import.operators.attention import ATTENTION
from tilewright.compiler_core.onnx_import.operators.classical import CLASSICAL
from tilewright.compiler_core.onnx_import.operators.contraction import CONTRACTIONS
from tilewright.compiler_core.onnx_import.operators.convolution import CONVOLUTIONS
from tilewright.compiler_core.onnx_import.operators.elementwise import ELEMENTWISE
from tilewright.compiler_core.onnx_import.operators.fourier import FOURIER
from tilewright.compiler_core.onnx_import.operators.gathering import GATHERING
from tilewright.compiler_core.onnx_import.operators.grids import GRIDS
from tilewright.compiler_core.onnx_import.operators.group_query import GROUP_QUERY
from tilewright.compiler_core.onnx_import.operators.host import HOST
from tilewright.compiler_core.onnx_import.operators.microsoft import MICROSOFT
from tilewright.compiler_core.onnx_import.operators.mixture import MIXTURES
from tilewright.compiler_core.onnx_import.operators.movement import MOVEMENT
from tilewright.compiler_core.onnx_import.operators.multi_head import MULTI_HEAD
from tilewright.compiler_core.onnx_import.operators.normalization import NORMALIZATIONS
from tilewright.compiler_core.onnx_import.operators.packed_weights import PACKED
from tilewright.compiler_core.onnx_import.operators.pooling import POOLING
from tilewright.compiler_core.onnx_import.operators.quantized import QUANTIZED, QUANTIZED_MICROSOFT
from tilewright.compiler_core.onnx_import.operators.quantized_recurrent import QUANTIZED_RECURRENT
from tilewright.compiler_core.onnx_import.operators.recurrent import RECURRENT
from tilewright.compiler_core.onnx_import.operators.reduction import REDUCTIONS
from tilewright.compiler_core.onnx_import.operators.resize import RESIZES
from tilewright.compiler_core.onnx_import.operators.rotary import ROTARY, ROTARY_MICROSOFT
from tilewright.compiler_core.onnx_import.operators.runtime_shapes import with_runtime_shapes
from tilewright.compiler_core.onnx_import.operators.skip_normalization import (
    SKIP_NORMALIZATIONS,
    simplified_layer_normalization,
)
from tilewright.compiler_core.onnx_import.operators.sources import SOURCES
from tilewright.compiler_core.onnx_import.operators.transposed_convolution import TRANSPOSED_CONVOLUTIONS
from tilewright.compiler_core.onnx_import.operators.views import VIEWS
from tilewright.compiler_core.onnx_import.standard import STANDARD

_STANDARD = (
    ATTENTION,
    CONTRACTIONS,
    CONVOLUTIONS,
    ELEMENTWISE,
    FOURIER,
    GATHERING,
    GRIDS,
    HOST,
    MOVEMENT,
    NORMALIZATIONS,
    POOLING,
    QUANTIZED,
    RECURRENT,
    REDUCTIONS,
    RESIZES,
    ROTARY,
    SOURCES,
    STANDARD,
    TRANSPOSED_CONVOLUTIONS,
    VIEWS,
)
_MICROSOFT = (
    GROUP_QUERY,
    MICROSOFT,
    MIXTURES,
    MULTI_HEAD,
    PACKED,
    QUANTIZED_MICROSOFT,
    QUANTIZED_RECURRENT,
    ROTARY_MICROSOFT,
    SKIP_NORMALIZATIONS,
)

BUILDERS: Mapping[tuple[str, str], Build] = {
    # onnxruntime writes this one into the standard domain
    ("", "SimplifiedLayerNormalization"): simplified_layer_normalization,
    **{("", op_type): build for room in _STANDARD for op_type, build in with_runtime_shapes(room).items()},
    **{("ai.onnx.ml", op_type): build for op_type, build in CLASSICAL.items()},
    **{("com.microsoft", op_type): build for room in _MICROSOFT for op_type, build in room.items()},
}
