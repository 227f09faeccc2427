"""The table of families: operator -> how to draw a model of it."""

from collections.abc import Mapping

from tests.differential.case import Family
from tests.differential.group_query_cases import GROUP_QUERY

FAMILIES: Mapping[str, Family] = {**GROUP_QUERY}
