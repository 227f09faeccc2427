"""The table of families: operator -> how to draw a model of it."""

from collections.abc import Mapping

from tests.differential.attention_cases import ATTENTION
from tests.differential.case import Family
from tests.differential.fused_cases import FUSED
from tests.differential.group_query_cases import GROUP_QUERY
from tests.differential.mixture_cases import MIXTURES
from tests.differential.multi_head_cases import MULTI_HEAD
from tests.differential.normalization_cases import NORMALIZATIONS
from tests.differential.packed_cases import PACKED
from tests.differential.recurrent_cases import RECURRENT

FAMILIES: Mapping[str, Family] = {
    **ATTENTION,
    **FUSED,
    **GROUP_QUERY,
    **MIXTURES,
    **MULTI_HEAD,
    **NORMALIZATIONS,
    **PACKED,
    **RECURRENT,
}
