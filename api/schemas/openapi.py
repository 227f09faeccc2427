"""OpenAPI as FastAPI makes it, completed by our problem details, the key's scheme, and the form of a job."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from tilewright.api import problems
from tilewright.api.guards.access import Need
from tilewright.api.schemas.jobs import JobSpec

REFERENCE = "#/components/schemas/{model}"
FORM = "multipart/form-data"


def schema_of(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """In place of `app.openapi`; made once."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        schema = plain()
        schemas = schema["components"]["schemas"]
        for model in (problems.ProblemDetails, problems.Fault, JobSpec):
            shape = model.model_json_schema(ref_template=REFERENCE)
            schemas |= shape.pop("$defs", {})
            schemas[model.__name__] = shape
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for methods in schema["paths"].values():
            for operation in methods.values():
                if operation["x-access"] != Need.PUBLIC:
                    operation["security"] = [{"key": []}]
        _describe_form(schema)
        return schema

    return openapi


def _describe_form(schema: dict[str, Any]) -> None:
    """A job comes as a form of two parts: a file, and JSON."""
    form = schema["paths"]["/v1/jobs"]["post"]["requestBody"]["content"][FORM]
    form["encoding"] = {"spec": {"contentType": "application/json"}}
    parts = schema["components"]["schemas"][form["schema"]["$ref"].rpartition("/")[2]]["properties"]
    parts["model"] = {"type": "string", "format": "binary", "description": parts["model"]["description"]}
    parts["spec"] = {"$ref": REFERENCE.format(model="JobSpec")}
