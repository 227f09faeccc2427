"""The docs as a site: `make docs` writes build/docs, which needs no server and no network to be read."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

project = "Tilewright"
author = copyright = "the authors of Tilewright"
extensions = ["myst_parser", "sphinx.ext.autodoc", "reference.generated"]
nitpicky = False
highlight_language = "text"
default_role = "literal"
smartquotes = False

myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 100
maximum_signature_line_length = 100

html_theme = "furo"
html_title = "Tilewright"
html_static_path = ["pictures/site.css"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_sourcelink = False
html_copy_source = False
# The colours of report and dashboard: api/pages/static/style.css.
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0b5394",
        "color-brand-content": "#0b5394",
        "font-stack": "system-ui, sans-serif",
    },
    "dark_css_variables": {
        "color-brand-primary": "#82bdf5",
        "color-brand-content": "#82bdf5",
        "color-background-primary": "#14181c",
        "color-background-secondary": "#1d2329",
        "font-stack": "system-ui, sans-serif",
    },
}
