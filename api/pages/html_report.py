"""A network or a run as one HTML file, for `tune report` and for notebooks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tilewright.api.pages.drawn.drawings import DRAWINGS
from tilewright.api.pages.one_file import one_file, standing_alone
from tilewright.api.pages.story import PICTURES_VERSION, Tale, points_of, why
from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.files.outputs import write_text
from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.tuner.verbs.report import report_on


@dataclass(frozen=True)
class HtmlReport:
    """A report that needs no other file; `pictures` are its drawings by name; each SVG stands alone."""

    title: str
    pictures: Mapping[str, str]
    html: str

    @property
    def drawings(self) -> Sequence[str]:
        """Names of the pictures, in the order of the page."""
        return list(self.pictures)

    def save(self, path: str | Path) -> None:
        """Write it as one HTML file; UsageError when that cannot be."""
        write_text(self.html, path)

    def save_pictures(self, folder: str | Path) -> None:
        """Write each picture as an SVG file of its name; UsageError when that cannot be."""
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the folder {folder}: {error.strerror}") from None
        for name, svg in self.pictures.items():
            write_text(svg, Path(folder) / f"{name}.svg")

    def _repr_html_(self) -> str:
        """The page inside a frame, for notebooks."""
        return self.html


def report(
    subject: str | Path,
    target: str | Path | None = None,
    *,
    objective: str = "latency",
    dims: Mapping[str, int] | None = None,
    inputs: Mapping[str, Given] | None = None,
    database: str | Path = "tilewright.db",
    toolchain: str | None = None,
) -> HtmlReport:
    """The report of an ONNX file on `target`, or of a run by its uid, from the database alone.

    For a file, the records of `toolchain` are shown, as in `tune lookup`; a run has its own toolchain. The
    report has convergence, roofline, timeline, memory map, kernels, and fusion groups. InputError where the
    file, the run or the database cannot be used.
    """
    report = report_on(
        subject,
        target,
        objective=objective,
        dims=dims,
        inputs=inputs,
        database=database,
        toolchain=toolchain,
    )
    assert report.pictures["version"] == PICTURES_VERSION
    tale = Tale(
        points_of(report.points), report.result, report.pictures, why(str(report.result["stop_reason"]))
    )
    pictures = {name: standing_alone(DRAWINGS[name](tale)) for name in tale.drawable}
    return HtmlReport(report.title, pictures, one_file(report.title, tale))
